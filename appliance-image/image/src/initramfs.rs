//! The whole system: what the kernel unpacks into memory and runs. Two programs, the kernel's modules, a few files of
//! text; no shell, no library, no tool.

use fairlead_disk::cpio;
use fairlead_disk::signature::PublicKey;

use crate::module::Module;
use crate::program::Programs;
use crate::{Fault, package};

/// Windows of 16 MiB, within which what our two programs have in common is stored once. The kernel needs as much
/// memory to unpack; 64 MiB would be more than a machine of 256 MB can spare at that time.
const WINDOW_LOG: u32 = 24;
const LEVEL: i32 = 19;

const PASSWD: &str = "\
root:x:0:0:the appliance:/:/bin/none
fairlead:x:100:100:the balancer:/run/fairlead:/bin/none
manage:x:101:101:management:/run:/bin/none
";
const GROUP: &str = "root:x:0:\nfairlead:x:100:\nmanage:x:101:\n";
const HOSTS: &str = "127.0.0.1 localhost\n::1 localhost\n";
/// Folders, and those that something is mounted on or written to.
const FOLDERS: &[&str] =
    &["bin", "conf", "dev", "etc", "etc/fairlead", "lib", "lib/modules", "proc", "run", "sys", "tmp"];

pub struct Contents<'a> {
    pub programs: &'a Programs,
    /// As `uname -r` says it.
    pub kernel_release: &'a str,
    pub modules: &'a [Module],
    /// Below `/lib/firmware`, for devices whose drivers want it.
    pub firmware: &'a [(String, Vec<u8>)],
    pub os_release: &'a str,
    /// What fairlead serves before it has a configuration, and its table of content types.
    pub default_configuration: &'a str,
    pub content_types: &'a str,
    /// Who may sign updates.
    pub update_keys: &'a [PublicKey],
    /// Of every file, in seconds since 1970.
    pub time: u32,
}

/// The archive, not compressed.
pub fn pack(contents: &Contents<'_>) -> Result<Vec<u8>, Fault> {
    let mut archive = cpio::Writer::new(Vec::new(), contents.time);
    FOLDERS.iter().try_for_each(|folder| archive.folder(folder, 0o755))?;
    archive.device("dev/console", 0o600, (5, 1))?;
    archive.device("dev/null", 0o666, (1, 3))?;
    archive.file("init", 0o755, &contents.programs.init)?;
    archive.file("bin/fairlead", 0o755, &contents.programs.fairlead)?;
    let keys: String = contents.update_keys.iter().map(|key| key.to_hex() + "\n").collect();
    let texts = [
        ("etc/fairlead/default.conf", contents.default_configuration),
        ("etc/fairlead/mime.types", contents.content_types),
        ("etc/group", GROUP),
        ("etc/hosts", HOSTS),
        ("etc/os-release", contents.os_release),
        ("etc/passwd", PASSWD),
        ("etc/update.pub", &keys),
    ];
    texts.iter().try_for_each(|(path, text)| archive.file(path, 0o644, text.as_bytes()))?;
    archive.symlink("etc/resolv.conf", "/run/resolv.conf")?;
    modules(&mut archive, contents)?;
    firmware(&mut archive, contents.firmware)?;
    Ok(archive.finish()?)
}

fn modules(archive: &mut cpio::Writer<Vec<u8>>, contents: &Contents<'_>) -> Result<(), Fault> {
    let place = |module: &Module| format!("{}/{}.ko", contents.kernel_release, module.name);
    let index: String = contents.modules.iter().map(|module| module.line(&place(module))).collect();
    archive.file("lib/modules/index", 0o644, index.as_bytes())?;
    archive.folder(&format!("lib/modules/{}", contents.kernel_release), 0o755)?;
    for module in contents.modules {
        archive.file(&format!("lib/modules/{}", place(module)), 0o644, &module.content)?;
    }
    Ok(())
}

fn firmware(archive: &mut cpio::Writer<Vec<u8>>, files: &[(String, Vec<u8>)]) -> Result<(), Fault> {
    let mut made = std::collections::BTreeSet::new();
    for (path, content) in files {
        let path = format!("lib/firmware/{path}");
        let ends = path.match_indices('/').skip(1).map(|(end, _)| &path[..end]);
        ends.filter(|folder| made.insert((*folder).to_owned())).try_for_each(|folder| archive.folder(folder, 0o755))?;
        archive.file(&path, 0o644, content)?;
    }
    Ok(())
}

/// As the kernel takes it.
pub fn compress(archive: &[u8]) -> Result<Vec<u8>, Fault> {
    let said = |code| format!("zstd: {}", zstd_safe::get_error_name(code));
    let mut context = zstd_safe::CCtx::create();
    context.set_parameter(zstd_safe::CParameter::CompressionLevel(LEVEL)).map_err(said)?;
    context.set_parameter(zstd_safe::CParameter::WindowLog(WINDOW_LOG)).map_err(said)?;
    let mut compressed = Vec::with_capacity(zstd_safe::compress_bound(archive.len()));
    context.compress2(&mut compressed, archive).map_err(said)?;
    Ok(compressed)
}

/// What an archive holds: a line a file, with its sum.
pub fn listing(archive: &[u8]) -> Result<String, Fault> {
    use sha2::{Digest, Sha256};
    let lines = cpio::entries(archive)?.into_iter().map(|entry| {
        let sum = if entry.is_file() { package::hex(&Sha256::digest(entry.content)) } else { "-".repeat(64) };
        format!("{sum} {:06o} {:9} /{}\n", entry.mode, entry.content.len(), entry.path)
    });
    Ok(lines.collect())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn archive(time: u32) -> Vec<u8> {
        let programs = Programs { fairlead: b"balancer".to_vec(), init: b"first process".to_vec() };
        let firmware = ["qed/a.bin", "qed/b.bin", "ice/ddp/c.pkg"].map(|path| (path.to_owned(), b"blob".to_vec()));
        pack(&Contents {
            programs: &programs,
            kernel_release: "6.12",
            modules: &[],
            firmware: &firmware,
            os_release: "VERSION_ID=0.1.0-7\n",
            default_configuration: "events {}\n",
            content_types: "types {}\n",
            update_keys: &[],
            time,
        })
        .unwrap()
    }

    #[test]
    fn every_file_lies_in_a_folder_that_was_made_before_it() {
        let archive = archive(0);
        let mut folders = vec![String::new()];
        for entry in cpio::entries(&archive).unwrap() {
            let parent = entry.path.rsplit_once('/').map_or("", |(parent, _)| parent);
            assert!(folders.iter().any(|folder| folder == parent), "{} has no folder", entry.path);
            if entry.mode & 0o170_000 == 0o040_000 {
                assert!(!folders.contains(&entry.path.to_owned()), "{} is there twice", entry.path);
                folders.push(entry.path.to_owned());
            }
        }
    }

    #[test]
    fn two_programs_and_no_other_can_be_started() {
        let archive = archive(0);
        let entries = cpio::entries(&archive).unwrap();
        let programs: Vec<_> =
            entries.iter().filter(|entry| entry.is_file() && entry.mode & 0o111 != 0).map(|entry| entry.path).collect();
        assert_eq!(programs, ["init", "bin/fairlead"]);
    }

    #[test]
    fn the_kernel_can_unpack_what_was_compressed() {
        let archive = archive(0);
        let compressed = compress(&archive).unwrap();
        let mut whole = Vec::with_capacity(archive.len());
        zstd_safe::decompress(&mut whole, &compressed).unwrap();
        assert!(whole == archive);
    }
}
