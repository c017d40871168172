//! `fairleadctl HOST update FILE`: a signed image, in pieces, with a bar that shows how far it is.

use super::folder::at;
use super::session::Session;
use super::{Done, Failure, print, tell};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use fairlead_appliance::management::Request;
use fairlead_disk::signature::SIGNATURE_BYTES;
use fairlead_disk::uki;
use std::fs::{self, File};
use std::io::{self, IsTerminal, Read, Seek};
use std::path::{Path, PathBuf};

/// Bytes of one piece.
const PIECE: u64 = 512 << 10;
const BAR: u64 = 40;

/// A file of this machine that says it is an image, with a signature beside it.
pub struct Image {
    path: PathBuf,
    file: File,
    size: u64,
    version: String,
    signature: Vec<u8>,
}

impl Image {
    pub fn open(path: &Path) -> Result<Image, Failure> {
        let mut file = File::open(path).map_err(at(path))?;
        let no_image = |fault| Failure::Here(format!("{}: {fault}", path.display()));
        let version = uki::Image::read(&mut file).and_then(|image| image.version(&mut file)).map_err(no_image)?;
        let size = file.seek(io::SeekFrom::End(0)).and_then(|size| file.rewind().map(|()| size)).map_err(at(path))?;
        let mut beside = path.as_os_str().to_owned();
        beside.push(".sig");
        let beside = PathBuf::from(beside);
        let signature = fs::read(&beside).map_err(at(&beside))?;
        if signature.len() != SIGNATURE_BYTES {
            return Err(Failure::Here(format!("{}: a signature has {SIGNATURE_BYTES} bytes", beside.display())));
        }
        Ok(Image { path: path.to_owned(), file, size, version: version.to_string(), signature })
    }
}

pub fn run(mut image: Image, allow_downgrade: bool, session: &mut Session) -> Done {
    let (version, size, signature) = (image.version.clone(), image.size, BASE64.encode(&image.signature));
    session.ask(&Request::UpdateBegin { version, size, signature, allow_downgrade })?;
    let sent = send(&mut image, session);
    if matches!(sent, Err(Failure::Here(_))) {
        // It cannot be read any further: what was sent is of no use.
        session.ask(&Request::UpdateAbort)?;
    }
    sent?;
    let answer = session.ask(&Request::UpdateCommit)?;
    print(&format!(
        "Version {} is written and verified beside {}. It boots on trial at the next start: fairleadctl {} reboot\n",
        image.version,
        answer.text("running"),
        session.name()
    ))
}

fn send(image: &mut Image, session: &mut Session) -> Done {
    let shown = io::stderr().is_terminal();
    let mut sent = 0;
    while sent < image.size {
        let mut piece = Vec::new();
        let read = (&mut image.file).take(PIECE).read_to_end(&mut piece).map_err(at(&image.path))?;
        if read == 0 {
            return Err(Failure::Here(format!("{} has become shorter", image.path.display())));
        }
        session.ask(&Request::UpdateData { data: BASE64.encode(&piece) })?;
        sent += read as u64;
        if shown {
            tell(&bar(sent, image.size));
        }
    }
    if shown {
        tell("\n");
    }
    Ok(())
}

fn bar(sent: u64, size: u64) -> String {
    let full = sent.saturating_mul(BAR).checked_div(size).unwrap_or(BAR).min(BAR);
    let (full, empty) = ("#".repeat(full as usize), " ".repeat((BAR - full) as usize));
    let megabytes = |bytes: u64| format!("{}.{}", bytes / 1_000_000, bytes / 100_000 % 10);
    format!("\r[{full}{empty}] {} of {} MB", megabytes(sent), megabytes(size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_is_full_at_the_end() {
        assert_eq!(bar(0, 21_500_000), format!("\r[{}] 0.0 of 21.5 MB", " ".repeat(40)));
        assert_eq!(bar(21_500_000, 21_500_000), format!("\r[{}] 21.5 of 21.5 MB", "#".repeat(40)));
    }
}
