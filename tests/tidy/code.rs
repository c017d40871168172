//! Rust source with its comments and literals blanked out, so that a plain search sees code alone.
//! Lines stay lines. It is a scanner, no parser: enough for the questions the tidy tests ask.

/// The same text with comments, strings and character literals replaced by spaces.
pub fn code_of(source: &str) -> String {
    let mut scanner = Scanner { rest: source.as_bytes(), out: Vec::with_capacity(source.len()) };
    while let Some(&first) = scanner.rest.first() {
        match first {
            b'/' if scanner.rest.starts_with(b"//") => scanner.blank(line_length(scanner.rest)),
            b'/' if scanner.rest.starts_with(b"/*") => scanner.blank(comment_length(scanner.rest)),
            b'"' => scanner.blank(string_length(scanner.rest)),
            b'r' | b'b' | b'c' => scanner.word_or_literal(),
            b'\'' => scanner.blank_or_keep(character_length(scanner.rest)),
            _ if is_word(first) => scanner.keep(word_length(scanner.rest)),
            _ => scanner.keep(1),
        }
    }
    String::from_utf8(scanner.out).expect("only whole characters are replaced, by spaces")
}

/// Each function's first line (counted from 1) and how many lines it has.
pub fn functions(code: &str) -> Vec<(usize, usize)> {
    let bytes = code.as_bytes();
    let starts = code.match_indices("fn ").filter(|(at, _)| *at == 0 || !is_word(bytes[at - 1]));
    let spans = starts.filter_map(|(at, _)| Some((at, at + body_end(&code[at..])?)));
    spans.map(|(from, to)| (line_of(code, from), code[from..to].matches('\n').count() + 1)).collect()
}

/// The line, counted from 1, that holds the byte at `offset`.
pub fn line_of(text: &str, offset: usize) -> usize {
    text[..offset].matches('\n').count() + 1
}

pub fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

struct Scanner<'s> {
    rest: &'s [u8],
    out: Vec<u8>,
}

impl Scanner<'_> {
    fn keep(&mut self, count: usize) {
        let (kept, rest) = self.rest.split_at(count.min(self.rest.len()));
        self.out.extend_from_slice(kept);
        self.rest = rest;
    }

    fn blank(&mut self, count: usize) {
        let (gone, rest) = self.rest.split_at(count.min(self.rest.len()));
        self.out.extend(gone.iter().map(|byte| if *byte == b'\n' { b'\n' } else { b' ' }));
        self.rest = rest;
    }

    fn blank_or_keep(&mut self, count: Option<usize>) {
        match count {
            Some(count) => self.blank(count),
            None => self.keep(1),
        }
    }

    /// `r"…"`, `br#"…"#`, `b'x'`, `c"…"`, or a word that only begins like one.
    fn word_or_literal(&mut self) {
        let word = word_length(self.rest);
        let (prefix, after) = self.rest.split_at(word);
        let hashes = after.iter().take_while(|byte| **byte == b'#').count();
        match (prefix, after.get(hashes)) {
            (b"r" | b"br" | b"cr", Some(b'"')) => {
                let close = [b"\"".as_slice(), &b"#".repeat(hashes)].concat();
                let body = &after[hashes + 1..];
                let end = body.windows(close.len()).position(|window| window == close).unwrap_or(body.len());
                self.blank(word + hashes + 1 + end + close.len());
            }
            (b"b" | b"c", Some(b'"')) if hashes == 0 => self.blank(word + string_length(after)),
            (b"b", Some(b'\'')) if hashes == 0 => self.blank(word + character_length(after).unwrap_or(1)),
            _ => self.keep(word),
        }
    }
}

fn word_length(text: &[u8]) -> usize {
    text.iter().take_while(|byte| is_word(**byte)).count()
}

fn line_length(text: &[u8]) -> usize {
    text.iter().position(|byte| *byte == b'\n').unwrap_or(text.len())
}

fn comment_length(text: &[u8]) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < text.len() {
        match &text[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn string_length(text: &[u8]) -> usize {
    let mut at = 1;
    while at < text.len() && text[at] != b'"' {
        at += if text[at] == b'\\' { 2 } else { 1 };
    }
    at + 1
}

/// `None` for a lifetime.
fn character_length(text: &[u8]) -> Option<usize> {
    if text.get(1) == Some(&b'\\') {
        return text[3..].iter().position(|byte| *byte == b'\'').map(|end| end + 4);
    }
    let text = std::str::from_utf8(&text[..text.len().min(6)])
        .unwrap_or_else(|error| std::str::from_utf8(&text[..error.valid_up_to()]).expect("this far it was valid"));
    let mut characters = text.char_indices().skip(2);
    characters.next().filter(|(_, close)| *close == '\'').map(|(at, _)| at + 1)
}

/// Where the function that starts here ends; `None` for one without a body.
fn body_end(code: &str) -> Option<usize> {
    let open = code.find(['{', ';']).filter(|at| code.as_bytes()[*at] == b'{')?;
    let mut depth = 0_usize;
    for (at, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

#[test]
fn blanks_what_is_not_code() {
    let code = code_of(
        "let a = \"unsafe \\\" {\"; // todo!\nlet b = b'{'; let c: &'a str = r#\"x\"y\"#; /* { /* } */ */ f('\\'');",
    );
    let words: Vec<&str> = code.split_whitespace().collect();
    assert_eq!(words.join(" "), "let a = ; let b = ; let c: &'a str = ; f( );");
    assert_eq!(code.matches('\n').count(), 1);
}

#[test]
fn measures_functions() {
    let code = code_of("fn a() {\n    if x { y }\n}\ntrait T {\n    fn b();\n}\npub fn c() -> u8 { 1 }\n");
    assert_eq!(functions(&code), [(1, 3), (7, 1)]);
}
