//! Includes, masks, `-g` and snapshots, on a folder of their own.

use super::*;

/// A folder with files in it, gone when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str, files: &[(&str, &str)]) -> Folder {
        let folder = std::env::temp_dir().join(format!("fairlead-conf-{}-{test}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        for (name, text) in files {
            let path = folder.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        Folder(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn read(&self) -> Tree {
        Tree::read(&self.path("main.conf"), None)
    }

    /// Messages with the folder's name taken out.
    fn told(&self, tree: &Tree) -> Vec<String> {
        let folder = format!("{}/", self.0.display());
        tree.diagnostics.iter().map(|wrong| wrong.message.replace(&folder, "")).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn names(block: &Block) -> Vec<String> {
    let name = |statement: &Statement| match &statement.block {
        Some(block) => format!("{}{{{}}}", statement.name.text, names(block).join(" ")),
        None => statement.name.text.to_string(),
    };
    block.statements.iter().map(name).collect()
}

#[test]
fn includes_stand_where_they_are_written() {
    let files = [
        ("main.conf", "a; include sub/one.conf; b { include sub/one.conf; c; } d;"),
        ("sub/one.conf", "x; include sub/two.conf;\n"),
        ("sub/two.conf", "y {}\n"),
    ];
    let folder = Folder::new("nested", &files);
    let tree = folder.read();
    assert_eq!(folder.told(&tree), [""; 0]);
    assert_eq!(names(&tree.root), ["a", "x", "y{}", "b{x y{} c}", "d"]);
    let paths: Vec<_> = tree.sources.files.iter().map(|file| file.path.clone()).collect();
    assert_eq!(paths, [folder.path("main.conf"), folder.path("sub/one.conf"), folder.path("sub/two.conf")]);
}

#[test]
fn masks_are_sorted_and_may_match_nothing() {
    let files = [
        ("main.conf", "include d/*.conf; include none/*; include d/[ab]?.conf;"),
        ("d/b1.conf", "b1;"),
        ("d/a2.conf", "a2;"),
        ("d/B.conf", "B;"),
        ("d/.hidden.conf", "hidden;"),
        ("d/a.txt", "txt;"),
    ];
    let folder = Folder::new("masks", &files);
    let tree = folder.read();
    assert_eq!(folder.told(&tree), [""; 0]);
    assert_eq!(names(&tree.root), ["B", "a2", "b1", "a2", "b1"]);
}

#[test]
fn masks_reach_over_folders() {
    let folder = Folder::new(
        "folders",
        &[("main.conf", "include */x.conf;"), ("p/x.conf", "p;"), ("q/x.conf", "q;"), ("r/y.conf", "r;")],
    );
    assert_eq!(names(&folder.read().root), ["p", "q"]);
}

#[test]
fn what_cannot_be_read_is_told_in_nginx_s_words() {
    let folder = Folder::new(
        "missing",
        &[("main.conf", "a; include gone.conf; include sub; include; include a b; b;"), ("sub/x", "")],
    );
    let tree = folder.read();
    assert_eq!(
        folder.told(&tree),
        [
            "open() \"gone.conf\" failed (2: No such file or directory)",
            "pread() \"sub\" failed (21: Is a directory)",
            "invalid number of arguments in \"include\" directive",
            "invalid number of arguments in \"include\" directive",
        ]
    );
    assert_eq!(names(&tree.root), ["a", "b"]);
    let none = Tree::read(&folder.path("no.conf"), None);
    assert_eq!(folder.told(&none), ["open() \"no.conf\" failed (2: No such file or directory)"]);
    assert_eq!(none.diagnostics[0].span, None);
}

#[test]
fn a_file_may_not_include_itself() {
    let folder = Folder::new("itself", &[("main.conf", "include b.conf; a;"), ("b.conf", "b; include *.conf;")]);
    let tree = folder.read();
    assert_eq!(folder.told(&tree), ["\"b.conf\" includes itself", "\"main.conf\" includes itself"]);
    let main = folder.path("main.conf").display().to_string();
    let help = tree.diagnostics[1].help.as_deref().unwrap();
    assert!(help.starts_with(&format!("{main} includes ")) && help.ends_with(&main), "{help}");
    assert_eq!(names(&tree.root), ["b", "a"]);
}

#[test]
fn a_file_that_includes_another_twice_is_fine() {
    let folder = Folder::new("twice", &[("main.conf", "include b.conf; include b.conf;"), ("b.conf", "b;")]);
    let tree = folder.read();
    assert_eq!(folder.told(&tree), [""; 0]);
    assert_eq!((names(&tree.root).len(), tree.sources.files.len(), tree.snapshot.files.len()), (2, 2, 2));
}

#[test]
fn a_block_must_close_in_its_own_file() {
    let folder = Folder::new("braces", &[("main.conf", "a { include b.conf; x; }"), ("b.conf", "b; }\n c {")]);
    let tree = folder.read();
    assert_eq!(folder.told(&tree), ["unexpected \"}\"", "unexpected end of file, expecting \"}\""]);
    assert_eq!(names(&tree.root), ["a{b c{} x}"]);
}

#[test]
fn globals_come_first_and_take_no_blocks() {
    let folder = Folder::new("globals", &[("main.conf", "a;"), ("g.conf", "g;")]);
    let main = folder.path("main.conf");
    let tree = Tree::read(&main, Some("daemon off; include g.conf;"));
    assert_eq!(names(&tree.root), ["daemon", "g", "a"]);
    assert!(tree.sources.files[0].is_command_line());
    assert!(!tree.sources.files[1].is_command_line());
    let wrong = Tree::read(&main, Some("events {} daemon off"));
    assert_eq!(
        folder.told(&wrong),
        ["block directives are not supported in -g option", "unexpected end of parameter, expecting \";\""]
    );
}

#[test]
fn a_snapshot_gives_the_same_tree_without_the_disk() {
    let files = [
        ("main.conf", "a \"x y\"; b { include c/*.conf; include c/*.conf; } include gone; # caf\u{e9}\n"),
        ("c/1.conf", "one; include c/2.conf;"),
        ("c/2.conf", "two {}"),
    ];
    let folder = Folder::new("replay", &files);
    let main = folder.path("main.conf");
    let tree = Tree::read(&main, Some("g;"));
    let decoded = Snapshot::decode(&tree.snapshot.encode()).unwrap();
    drop(folder);
    let again = Tree::replay(&main, Some("g;"), decoded);
    assert_eq!(again.root, tree.root);
    assert_eq!(again.diagnostics, tree.diagnostics);
    assert_eq!(again.snapshot, tree.snapshot);
    let texts = |tree: &Tree| tree.sources.files.iter().map(|file| file.text.clone()).collect::<Vec<_>>();
    assert_eq!(texts(&again), texts(&tree));
    assert!(!main.exists());
}

#[test]
fn text_given_by_hand_parses_as_a_file() {
    let tree = Tree::parse(Path::new("/nowhere/x.conf"), "a; b;");
    assert_eq!(names(&tree.root), ["a", "b"]);
    assert_eq!(tree.sources.path(FileId(0)), Path::new("/nowhere/x.conf"));
}

#[test]
fn a_state_file_is_read_with_its_places_and_may_be_missing() {
    let files = [
        ("main.conf", "upstream a { state a.state; }\nupstream b { state gone; }\nmap x { state a.state; }\n"),
        ("a.state", "server 10.0.0.1;\nserver 10.0.0.2;\n"),
    ];
    let folder = Folder::new("state", &files);
    let tree = folder.read();
    assert!(tree.diagnostics.is_empty(), "{:?}", tree.diagnostics);
    let attached = |upstream: usize| {
        let block = tree.root.statements[upstream].block.as_ref().unwrap();
        assert!(block.statements[0].block.is_none());
        tree.attached.get(&block.statements[0].args[0].span)
    };
    let second = &attached(0).unwrap().statements[1];
    assert_eq!(&*second.args[0].text, "10.0.0.2");
    assert!(tree.sources.path(second.name.span.file).ends_with("a.state"));
    assert_eq!(tree.sources.position(second.name.span), (2, 1));
    assert_eq!(attached(1).map(|block| block.statements.len()), Some(0));
    assert_eq!(attached(2), None, "in a map it is a key");
    let replayed = Tree::replay(&folder.path("main.conf"), None, tree.snapshot.clone());
    assert_eq!(replayed.attached, tree.attached);
}

#[test]
fn a_file_of_secrets_goes_along_and_is_no_source() {
    let files = [
        (
            "main.conf",
            "upstream a { sticky cookie x signed keys; sticky cookie y signed gone; }\nsticky cookie z signed keys;\n",
        ),
        ("keys", "an old secret; {\n"),
    ];
    let folder = Folder::new("secrets", &files);
    let tree = folder.read();
    assert!(tree.diagnostics.is_empty(), "{:?}", tree.diagnostics);
    let block = tree.root.statements[0].block.as_ref().unwrap();
    let secret = |tree: &Tree, at: usize| tree.secrets.get(&block.statements[at].args[3].span).cloned().unwrap();
    assert_eq!(secret(&tree, 0).as_deref(), Ok("an old secret; {\n"));
    assert!(secret(&tree, 1).unwrap_err().ends_with("failed (2: No such file or directory)"));
    assert_eq!(tree.secrets.len(), 2, "elsewhere it is a word like others");
    assert!(tree.sources.files.iter().all(|file| !file.text.contains("secret;")));
    let replayed = Tree::replay(&folder.path("main.conf"), None, tree.snapshot.clone());
    assert_eq!(replayed.secrets, tree.secrets);
}
