use super::*;
use proptest::prelude::*;

fn normal(target: &[u8], merge_slashes: bool) -> Result<(Vec<u8>, Vec<u8>), BadUri> {
    let mut path = b"kept".to_vec();
    let query = normalize(target, merge_slashes, &mut path)?;
    let path = path.strip_prefix(b"kept").expect("what was there stays").to_vec();
    let query = query.map_or(&b""[..], |start| &target[start..query_end(target, start)]);
    Ok((path, query.to_vec()))
}

fn unescape(text: &str) -> Vec<u8> {
    let mut parts = text.split("\\x");
    let mut out = parts.next().unwrap().as_bytes().to_vec();
    for part in parts {
        out.push(u8::from_str_radix(&part[..2], 16).unwrap());
        out.extend_from_slice(&part.as_bytes()[2..]);
    }
    out
}

#[test]
fn agrees_with_nginx() {
    let mut compared = 0;
    for line in include_str!("nginx.tsv").lines().filter(|line| !line.starts_with('#')) {
        let mut columns = line.split('\t');
        let mut column = || unescape(columns.next().unwrap());
        let (target, path, query) = (column(), column(), column());
        let expected = if path == b"400" { Err(BadUri) } else { Ok((path, query)) };
        assert_eq!(normal(&target, true), expected, "{line}");
        compared += 1;
    }
    assert!(compared > 400, "{compared}");
}

#[test]
fn slashes_stay_when_asked() {
    let path = |target: &str| normal(target.as_bytes(), false).map(|(path, _)| String::from_utf8(path).unwrap());
    assert_eq!(path("//a//b"), Ok("//a//b".into()));
    assert_eq!(path("/a//.."), Ok("/a/".into()));
    assert_eq!(path("/a//../b"), Ok("/a/b".into()));
}

proptest! {
    /// No target panics, and a path never climbs: whatever comes out has no segment `..`.
    #[test]
    fn nothing_climbs(target in "/[a./%2eEfF?#\\\\]{0,24}", merge: bool) {
        if let Ok((path, _)) = normal(target.as_bytes(), merge) {
            prop_assert!(path.split(|&byte| byte == b'/').all(|segment| segment != b".." && segment != b"."), "{path:?}");
        }
    }

    #[test]
    fn no_bytes_panic(target: Vec<u8>, merge: bool) {
        let _ = normal(&target, merge);
    }

    /// The fast path and the state machine agree where both apply.
    #[test]
    fn a_plain_path_is_its_own_normal_form(path in "(/[a-z]{1,5}(\\.[a-z]{1,3})?){1,4}/?") {
        prop_assert_eq!(normal(path.as_bytes(), true), Ok((path.clone().into_bytes(), Vec::new())));
        prop_assert_eq!(normal(format!("{path}#").as_bytes(), true), Ok((path.into_bytes(), Vec::new())));
    }
}
