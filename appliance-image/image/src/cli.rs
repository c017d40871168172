//! The command line.

use std::path::PathBuf;

use crate::format::Format;
use crate::unified::SecureBoot;
use crate::{Fault, Kind};

const USAGE: &str = "\
fairlead-image builds the appliance: one disk that boots a machine into a load balancer.

  fairlead-image build [OPTION...]   build images, by default the universal one
  fairlead-image run [OPTION...]     boot the newest one in QEMU, before peers on this machine
  fairlead-image key FILE            make a key that signs updates; FILE.pub is its public half

Build:
  --universal          Debian's full kernel: virtual machines and hardware
  --tiny               Debian's cloud kernel: virtual machines only (give both for both)
  --out DIR            where images go (target/image)
  --formats LIST       of raw,qcow2,vmdk,vhdx,iso,files (all); files: kernel and initramfs for direct and network boot
  --disk MIB           size of the disk (128): what is beyond 128 goes to the configuration
  --key FILE           sign the image for updates (ed25519), and trust the key in it
  --update-key FILE    trust these public keys too, one a line in hexadecimal
  --sb-key FILE --sb-cert FILE
                       sign boot loader and image for UEFI Secure Boot (PEM; needs sbsign)
  --arguments TEXT     more for the kernel's command line
  --firmware DIR       files that drivers load, as they lie below /lib/firmware
  --version X.Y.Z-N    instead of the workspace's version and the number of commits
  --programs DIR       take fairlead and fairlead-init, static, from there instead of building them

Run:
  --tiny               the tiny image
  --out DIR            where images are (target/image)
  --uefi               boot by UEFI (needs ovmf) instead of BIOS
  --memory MIB         of the machine (512)
  FAIRLEAD_KVM=1 in the environment uses KVM; without it the machine is emulated, and some ten times slower.";

#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    Help(&'static str),
    Build(Box<Build>),
    Run(Run),
    Key(PathBuf),
}

#[derive(Debug, PartialEq, Eq)]
pub struct Build {
    pub kinds: Vec<Kind>,
    pub out: Option<PathBuf>,
    pub formats: Vec<Format>,
    pub disk_bytes: u64,
    pub key: Option<PathBuf>,
    pub update_keys: Vec<PathBuf>,
    pub secure_boot: Option<SecureBoot>,
    pub arguments: String,
    pub firmware: Option<PathBuf>,
    pub version: Option<fairlead_disk::slot::Version>,
    pub programs: Option<PathBuf>,
}

impl Default for Build {
    fn default() -> Build {
        Build {
            kinds: Vec::new(),
            out: None,
            formats: Format::ALL.to_vec(),
            disk_bytes: fairlead_disk::layout::DISK_BYTES,
            key: None,
            update_keys: Vec::new(),
            secure_boot: None,
            arguments: String::new(),
            firmware: None,
            version: None,
            programs: None,
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub struct Run {
    pub kind: Kind,
    pub out: Option<PathBuf>,
    pub uefi: bool,
    pub memory: u32,
}

pub fn parse(args: impl IntoIterator<Item = String>) -> Result<Command, Fault> {
    let args: Vec<String> = args.into_iter().collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    if words.iter().any(|word| matches!(*word, "-h" | "--help")) {
        return Ok(Command::Help(USAGE));
    }
    match words.as_slice() {
        [] | ["help"] => Ok(Command::Help(USAGE)),
        ["build", options @ ..] => build(options).map(|options| Command::Build(Box::new(options))),
        ["run", options @ ..] => run(options).map(Command::Run),
        ["key", path] if !path.starts_with('-') => Ok(Command::Key(path.into())),
        ["key", ..] => Err("key wants one file".into()),
        [other, ..] => Err(format!("{other} is none of build, run, key; --help says more").into()),
    }
}

fn build(words: &[&str]) -> Result<Build, Fault> {
    let mut options = Build::default();
    let (mut sb_key, mut sb_cert) = (None, None);
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().copied().ok_or_else(|| format!("{word} wants a value"));
        match *word {
            "--universal" => options.kinds.push(Kind::Universal),
            "--tiny" => options.kinds.push(Kind::Tiny),
            "--out" => options.out = Some(value()?.into()),
            "--formats" => options.formats = value()?.split(',').map(Format::named).collect::<Result<_, _>>()?,
            "--disk" => options.disk_bytes = number::<u32>(word, value()?)?.into(),
            "--key" => options.key = Some(value()?.into()),
            "--update-key" => options.update_keys.push(value()?.into()),
            "--sb-key" => sb_key = Some(value()?.into()),
            "--sb-cert" => sb_cert = Some(value()?.into()),
            "--arguments" => options.arguments = value()?.to_owned(),
            "--firmware" => options.firmware = Some(value()?.into()),
            "--version" => options.version = Some(value()?.parse()?),
            "--programs" => options.programs = Some(value()?.into()),
            _ => return Err(unknown(word)),
        }
        if *word == "--disk" {
            options.disk_bytes <<= 20;
        }
    }
    options.secure_boot = match (sb_key, sb_cert) {
        (Some(key), Some(certificate)) => Some(SecureBoot { key, certificate }),
        (None, None) => None,
        _ => return Err("--sb-key and --sb-cert go together".into()),
    };
    if options.kinds.is_empty() {
        options.kinds.push(Kind::Universal);
    }
    options.kinds.dedup();
    Ok(options)
}

fn run(words: &[&str]) -> Result<Run, Fault> {
    let mut options = Run { kind: Kind::Universal, out: None, uefi: false, memory: 512 };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().copied().ok_or_else(|| format!("{word} wants a value"));
        match *word {
            "--tiny" => options.kind = Kind::Tiny,
            "--universal" => options.kind = Kind::Universal,
            "--out" => options.out = Some(value()?.into()),
            "--uefi" => options.uefi = true,
            "--memory" => options.memory = number(word, value()?)?,
            _ => return Err(unknown(word)),
        }
    }
    Ok(options)
}

fn number<N: std::str::FromStr>(option: &str, value: &str) -> Result<N, Fault> {
    value.parse().map_err(|_| format!("{option} wants a number, not {value}").into())
}

fn unknown(word: &str) -> Fault {
    format!("no option is called {word}; --help lists them").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, String> {
        parse(line.split_whitespace().map(str::to_owned)).map_err(|fault| fault.to_string())
    }

    #[test]
    fn both_kinds_are_built_when_both_are_asked_for() {
        let Ok(Command::Build(options)) = parsed("build --universal --tiny --formats raw,iso --disk 256") else {
            panic!("no build")
        };
        assert_eq!(options.kinds, [Kind::Universal, Kind::Tiny]);
        assert_eq!((options.formats, options.disk_bytes), (vec![Format::Raw, Format::Iso], 256 << 20));
        let universal = Build { kinds: vec![Kind::Universal], ..Build::default() };
        assert_eq!(parsed("build"), Ok(Command::Build(Box::new(universal))));
    }

    #[test]
    fn mistakes_are_named() {
        for (line, said) in [
            ("build --sb-key k", "--sb-key and --sb-cert go together"),
            ("build --formats raw,floppy", "no format is called floppy"),
            ("build --disk", "--disk wants a value"),
            ("build --version 1", "not a version like 0.1.0-412: \"1\""),
            ("run --memory much", "--memory wants a number, not much"),
            ("burn", "burn is none of build, run, key; --help says more"),
            ("key", "key wants one file"),
        ] {
            assert_eq!(parsed(line), Err(said.to_owned()), "{line}");
        }
    }

    #[test]
    fn every_option_is_in_the_help() {
        for option in
            ["--universal", "--tiny", "--key", "--update-key", "--sb-cert", "--uefi", "--memory", "--programs"]
        {
            assert!(USAGE.contains(option), "{option}");
        }
        assert_eq!(parsed("build --tiny --help"), Ok(Command::Help(USAGE)));
    }
}
