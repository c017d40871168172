//! What licences ask for: their texts, and where the source of every program in the image is.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::package::Package;
use crate::program::cargo;
use crate::{Fault, tool};

/// A package, and its copyright file where it has one of its own.
pub type Paper = (Package<'static>, Option<Vec<u8>>);

/// The path of a package's own copyright file.
pub fn copyright_path(package: &Package<'_>) -> String {
    format!("usr/share/doc/{}/copyright", package.name)
}

/// Writes the folder `licences`: the texts (by package), `SOURCES.md` and `crates.tsv`.
pub fn write(folder: &Path, root: &Path, packages: &[Paper]) -> Result<(), Fault> {
    let folder = folder.join("licences");
    fs::create_dir_all(&folder)?;
    fs::copy(root.join("LICENSE"), folder.join("fairlead.txt"))?;
    for (package, copyright) in packages {
        match copyright {
            Some(text) => fs::write(folder.join(format!("{}.txt", package.name)), text)?,
            None if packages.iter().any(|(other, text)| other.source == package.source && text.is_some()) => {}
            None => return Err(format!("no package of {} has a copyright file", package.source).into()),
        }
    }
    fs::write(folder.join("SOURCES.md"), sources(packages))?;
    fs::write(folder.join("crates.tsv"), crates(root)?)?;
    Ok(())
}

fn sources(packages: &[Paper]) -> String {
    let mut text = String::from(
        "# Where the source is\n\n\
         Taken unchanged from Debian 12. Debian keeps every source package for ever at snapshot.debian.org;\n\
         `apt-get source SOURCE=VERSION` fetches one that is current. Licence texts are beside this file.\n\n\
         | program of the image | binary package | version | source package | source |\n|---|---|---|---|---|\n",
    );
    for (Package { name, version, source, .. }, _) in packages {
        let program = match *source {
            "systemd" => "systemd-boot, EFI stub",
            "grub2" => "GRUB's core and modules",
            _ => "Linux and its modules",
        };
        let place = format!("https://snapshot.debian.org/package/{source}/{version}/");
        text += &format!("| {program} | {name} | {version} | {source} | {place} |\n");
    }
    text + "\nfairlead and fairlead-init are built from this repository and from the crates in crates.tsv, whose source\n\
            is at https://crates.io; the C library within them is glibc of the machine that built them.\n"
}

/// Every crate within our programs: name, version, licence.
fn crates(root: &Path) -> Result<String, Fault> {
    let mut command = Command::new(cargo());
    command.current_dir(root).args(["tree", "--locked", "--prefix", "none", "--edges", "normal,no-proc-macro"]);
    command.args(["--format", "{p}\t{l}", "-p", "fairlead", "-p", "fairlead-init"]);
    let told = tool::output(&mut command)?;
    let mut lines: Vec<String> = told
        .lines()
        .filter_map(|line| {
            let (package, licence) = line.trim_end_matches(" (*)").split_once('\t')?;
            let mut words = package.split(' ');
            let (name, version) = (words.next()?, words.next()?.trim_start_matches('v'));
            Some(format!("{name}\t{version}\t{}\n", licence.trim_end_matches(" (*)")))
        })
        .collect();
    lines.sort();
    lines.dedup();
    Ok(format!("crate\tversion\tlicence\n{}", lines.concat()))
}
