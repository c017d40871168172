//! Debian packages: an `ar` archive, in it a compressed tar archive of the files (deb(5)). Only wanted files are kept,
//! and nothing is written to disk.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use crate::Fault;

const AR_HEADER: usize = 60;

/// The regular files of a package that `wanted` names, by their path from the root, without a leading slash.
pub fn files(package: &Path, wanted: impl Fn(&str) -> bool) -> Result<BTreeMap<String, Vec<u8>>, Fault> {
    let mut archive = BufReader::new(File::open(package)?);
    let (name, length) = data_member(&mut archive)?;
    let data = archive.take(length);
    match name.as_str() {
        "data.tar.xz" => unpack(liblzma::read::XzDecoder::new(data), wanted),
        other => Err(format!("{}: no way to read {other}", package.display()).into()),
    }
}

/// Reads on to the beginning of the member that holds the files.
fn data_member(archive: &mut (impl Read + Seek)) -> Result<(String, u64), Fault> {
    let mut magic = [0; 8];
    archive.read_exact(&mut magic)?;
    if &magic != b"!<arch>\n" {
        return Err("not a Debian package".into());
    }
    loop {
        let mut header = [0; AR_HEADER];
        archive.read_exact(&mut header).map_err(|error| format!("the package has no files: {error}"))?;
        let text = std::str::from_utf8(&header)?;
        let name = text[..16].trim_end().trim_end_matches('/').to_owned();
        let length: u64 = text[48..58].trim_end().parse()?;
        if name.starts_with("data.tar") {
            return Ok((name, length));
        }
        archive.seek(SeekFrom::Current(length.next_multiple_of(2) as i64))?;
    }
}

fn unpack(data: impl Read, wanted: impl Fn(&str) -> bool) -> Result<BTreeMap<String, Vec<u8>>, Fault> {
    let mut found = BTreeMap::new();
    let mut archive = tar::Archive::new(data);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.to_string_lossy().trim_start_matches("./").to_owned();
        if entry.header().entry_type().is_file() && wanted(&path) {
            let mut content = Vec::with_capacity(entry.size() as usize);
            entry.read_to_end(&mut content)?;
            found.insert(path, content);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn package() -> Vec<u8> {
        let mut tar = tar::Builder::new(liblzma::write::XzEncoder::new(Vec::new(), 1));
        for (path, content) in [("./boot/vmlinuz", &b"kernel"[..]), ("./usr/share/doc/x/copyright", b"GPL")] {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, path, content).unwrap();
        }
        let data = tar.into_inner().unwrap().finish().unwrap();
        let mut deb = b"!<arch>\n".to_vec();
        for (name, content) in [("debian-binary", &b"2.0"[..]), ("data.tar.xz/", &data)] {
            writeln!(deb, "{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`", 0, 0, 0, 100_644, content.len()).unwrap();
            deb.extend(content);
            deb.resize(deb.len().next_multiple_of(2), b'\n');
        }
        deb
    }

    #[test]
    fn gives_the_files_that_are_wanted() {
        let path = std::env::temp_dir().join(format!("fairlead-image-{}.deb", std::process::id()));
        std::fs::write(&path, package()).unwrap();
        let files = files(&path, |path| path.starts_with("boot/")).unwrap();
        std::fs::remove_file(path).unwrap();
        assert_eq!(files.into_iter().collect::<Vec<_>>(), [("boot/vmlinuz".to_owned(), b"kernel".to_vec())]);
    }
}
