//! A build from beginning to end.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use fairlead_disk::signature::{PrivateKey, PublicKey};
use fairlead_disk::slot::Version;
use fairlead_disk::{layout, mbr, uki};

use crate::disk::{Boot, Grub, Parts};
use crate::format::{self, Format};
use crate::module::Modules;
use crate::output::{self, Output};
use crate::package;
use crate::papers::Paper;
use crate::program::{self, Programs};
use crate::progress::{Progress, megabytes};
use crate::{Fault, Kind, cli, deb, disk, initramfs, iso, key, papers, tool, unified};

const GRUB_FOLDER: &str = "usr/lib/grub/i386-pc/";
const STUB: &str = "usr/lib/systemd/boot/efi/linuxx64.efi.stub";
const LOADER: &str = "usr/lib/systemd/boot/efi/systemd-bootx64.efi";
/// When no commit says a time: 2026-01-01.
const FALLBACK_TIME: u64 = 1_767_225_600;

/// What every kind of a build has in common.
struct Builder<'o> {
    options: &'o cli::Build,
    root: PathBuf,
    out: PathBuf,
    version: Version,
    time: u64,
    signer: Option<PrivateKey>,
    update_keys: Vec<PublicKey>,
    firmware: Vec<(String, Vec<u8>)>,
    programs: Programs,
    progress: Progress,
}

/// Builds every image that was asked for.
pub fn all(options: &cli::Build) -> Result<(), Fault> {
    let builder = Builder::begin(options)?;
    let mut papers: BTreeMap<&str, Paper> = BTreeMap::new();
    for kind in &options.kinds {
        builder.image(*kind, &mut papers)?;
    }
    output::program(&builder.out, "fairleadctl", &builder.programs.fairlead)?;
    papers::write(&builder.out, &builder.root, &papers.into_values().collect::<Vec<_>>())?;
    for (name, bytes, sum) in output::sums(&builder.out)? {
        println!("{sum}  {:>9}  {name}", megabytes(bytes));
    }
    builder.progress.say(format_args!("done: {}", builder.out.display()));
    Ok(())
}

impl<'o> Builder<'o> {
    fn begin(options: &'o cli::Build) -> Result<Builder<'o>, Fault> {
        let progress = Progress::begin();
        tool::need(&needs(options), &progress)?;
        let root = root()?;
        let out = out(&root, options.out.as_deref());
        fs::create_dir_all(&out)?;
        let version = options.version.map_or_else(|| version(&root), Ok)?;
        let time = time(&root)?;
        let signer = options.key.as_deref().map(key::private).transpose()?;
        let mut update_keys: Vec<PublicKey> = signer.iter().map(PrivateKey::public).collect();
        for path in &options.update_keys {
            update_keys.extend(key::public(path)?);
        }
        let firmware = options.firmware.as_deref().map(firmware).transpose()?.unwrap_or_default();
        progress.say(format_args!("fairlead {version}: building our own programs, static"));
        let programs = match &options.programs {
            Some(folder) => program::read(folder)?,
            None => program::build(&root)?,
        };
        let sizes = [&programs.fairlead, &programs.init].map(|program| megabytes(program.len() as u64));
        progress.say(format_args!("fairlead {}, fairlead-init {}", sizes[0], sizes[1]));
        Ok(Builder { options, root, out, version, time, signer, update_keys, firmware, programs, progress })
    }

    fn image(&self, kind: Kind, papers: &mut BTreeMap<&str, Paper>) -> Result<(), Fault> {
        let output = Output { folder: self.out.clone(), kind, version: self.version };
        let work = self.out.join(format!("work-{}", kind.name()));
        fs::create_dir_all(&work)?;
        let mut take = |name: &str, wanted: &dyn Fn(&str) -> bool| -> Result<BTreeMap<String, Vec<u8>>, Fault> {
            let package = package::named(name)?;
            let place = package.fetch(&self.out.join("cache"), &self.progress)?;
            let copyright = papers::copyright_path(&package);
            let mut files = deb::files(&place, |path| path == copyright || wanted(path))?;
            papers.insert(package.name, (package, files.remove(&copyright)));
            Ok(files)
        };
        let kernel =
            take(kind.kernel_package(), &|path| path.starts_with("boot/vmlinuz-") || path.contains("/modules"))?;
        // The licence of both packages of GRUB is in this one.
        take("grub-common", &|_| false)?;
        let grub_files = take("grub-pc-bin", &|path| path.starts_with(GRUB_FOLDER))?;
        let mut systemd = take("systemd-boot-efi", &|path| path == STUB || path == LOADER)?;
        let mut program = |path| systemd.remove(path).ok_or_else(|| format!("systemd-boot-efi has no {path}"));
        let (stub, mut loader) = (program(STUB)?, program(LOADER)?);

        let kernel = Kernel::of(kernel)?;
        let image = self.unified(&kernel, &stub, &output)?;
        let image = self.secure(image, &work)?;
        loader = self.secure(loader, &work)?;
        output.write("efi", &image)?;
        if let Some(signer) = &self.signer {
            output.write("efi.sig", &signer.sign(&image))?;
        }
        let modules = work.join("grub");
        fs::create_dir_all(&modules)?;
        for (path, content) in &grub_files {
            fs::write(modules.join(path.trim_start_matches(GRUB_FOLDER)), content)?;
        }
        let grub = Grub { modules: &modules, work: &work };
        let boot = Boot { loader: &loader, image: &image, version: self.version, time: self.time };
        self.forms(&output, &grub, boot)?;
        Ok(fs::remove_dir_all(work)?)
    }

    /// Packs the system, and makes one image of it and the kernel.
    fn unified(&self, kernel: &Kernel, stub: &[u8], output: &Output) -> Result<Vec<u8>, Fault> {
        let modules = kernel.modules.choose(output.kind, !self.firmware.is_empty())?;
        let read = |path: &str| fs::read_to_string(self.root.join(path)).map_err(|error| format!("{path}: {error}"));
        let os_release = unified::os_release(self.version);
        let archive = initramfs::pack(&initramfs::Contents {
            programs: &self.programs,
            kernel_release: &kernel.release,
            modules: &modules,
            firmware: &self.firmware,
            os_release: &os_release,
            default_configuration: &read("appliance-image/init/default.conf")?,
            content_types: &read("conf/mime.types")?,
            update_keys: &self.update_keys,
            time: u32::try_from(self.time)?,
        })?;
        let size = megabytes(archive.len() as u64);
        self.progress.say(format_args!("Linux {}, {} modules; packing {size}", kernel.release, modules.len()));
        let initramfs = initramfs::compress(&archive)?;
        output.write("contents", initramfs::listing(&archive)?.as_bytes())?;
        let command_line = unified::arguments(self.version, &self.options.arguments);
        let sizes = [&kernel.file, &initramfs].map(|part| megabytes(part.len() as u64));
        self.progress.say(format_args!("kernel {}, initramfs {}", sizes[0], sizes[1]));
        if self.options.formats.contains(&Format::Files) {
            output.write("vmlinuz", &kernel.file)?;
            output.write("initramfs", &initramfs)?;
        }
        Ok(uki::build(&uki::Parts {
            stub,
            os_release: &os_release,
            command_line: &command_line,
            kernel_release: &kernel.release,
            kernel: &kernel.file,
            initramfs: &initramfs,
        })?)
    }

    fn secure(&self, program: Vec<u8>, work: &Path) -> Result<Vec<u8>, Fault> {
        match &self.options.secure_boot {
            Some(keys) => keys.sign(&program, work),
            None => Ok(program),
        }
    }

    /// Every form of the image that was asked for.
    fn forms(&self, output: &Output, grub: &Grub<'_>, boot: Boot<'_>) -> Result<(), Fault> {
        let asked = |format: Format| self.options.formats.contains(&format);
        if asked(Format::Iso) {
            iso::write(&output.path("iso"), grub, &boot)?;
            self.progress.say("ISO for CDs and USB sticks");
        }
        let table = layout::table(self.options.disk_bytes)?;
        let configuration = grub.work.join("configuration");
        let bytes = table.named(layout::CONFIGURATION_NAME).map_or(0, |partition| partition.bytes());
        disk::configuration(&configuration, bytes, self.time)?;
        let (first, core) = (grub.file("boot.img")?, grub.core("i386-pc", "(,gpt2)/grub")?);
        let parts = Parts { grub: mbr::Grub { boot: &first, core: &core }, boot, configuration: &configuration };
        let raw = output.path("raw");
        disk::write(&raw, &table, &parts)?;
        self.progress.say(format_args!("{}: {}", raw.display(), package::sha256_of(&raw)?));
        for format in Format::ALL.into_iter().filter(|format| asked(*format)) {
            if let Some(made) = format::convert(&raw, format)? {
                let size = megabytes(fs::metadata(&made)?.len());
                self.progress.say(format_args!("{} {size}", format.name()));
            }
        }
        if !asked(Format::Raw) {
            fs::remove_file(raw)?;
        }
        Ok(())
    }
}

struct Kernel {
    release: String,
    file: Vec<u8>,
    modules: Modules,
}

impl Kernel {
    fn of(mut files: BTreeMap<String, Vec<u8>>) -> Result<Kernel, Fault> {
        let place = files.keys().find(|path| path.starts_with("boot/vmlinuz-")).cloned();
        let place = place.ok_or("the kernel's package has no kernel")?;
        let file = files.remove(&place).unwrap_or_default();
        let release = place.trim_start_matches("boot/vmlinuz-").to_owned();
        let builtin = files.iter().find(|(path, _)| path.ends_with("/modules.builtin"));
        let builtin = builtin.map(|(_, text)| String::from_utf8_lossy(text).into_owned()).unwrap_or_default();
        Ok(Kernel { release, file, modules: Modules::new(files, &builtin) })
    }
}

/// The programs of others that these options take.
fn needs(options: &cli::Build) -> Vec<&'static str> {
    let mut needs = vec!["curl", "grub-mkimage", "mke2fs"];
    if options.programs.is_none() {
        needs.extend(["cc", tool::STATIC_LIBRARY]);
    }
    if options.formats.contains(&Format::Iso) {
        needs.push("xorriso");
    }
    if [Format::Qcow2, Format::Vmdk, Format::Vhdx].iter().any(|format| options.formats.contains(format)) {
        needs.push("qemu-img");
    }
    needs.extend(options.secure_boot.iter().map(|_| "sbsign"));
    needs
}

/// The workspace's folder: where this was built, or where it is run.
pub fn root() -> Result<PathBuf, Fault> {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).map(Path::to_path_buf);
    let here = std::env::current_dir()?;
    let found = [Some(here), built].into_iter().flatten().find(|folder| folder.join("appliance-image").is_dir());
    found.ok_or_else(|| "start me in the folder of the repository".into())
}

pub fn out(root: &Path, asked: Option<&Path>) -> PathBuf {
    asked.map_or_else(|| program::target_folder(root).join("image"), Path::to_path_buf)
}

/// The workspace's version, and the number of commits as the build.
fn version(root: &Path) -> Result<Version, Fault> {
    let commits = git(root, &["rev-list", "--count", "HEAD"]).unwrap_or_else(|| "0".to_owned());
    Ok(format!("{}-{commits}", env!("CARGO_PKG_VERSION")).parse()?)
}

/// `SOURCE_DATE_EPOCH`, or when the last commit was made.
fn time(root: &Path) -> Result<u64, Fault> {
    let asked = std::env::var("SOURCE_DATE_EPOCH").ok();
    match asked.or_else(|| git(root, &["log", "-1", "--format=%ct"])) {
        Some(text) => Ok(text.parse().map_err(|_| format!("not seconds since 1970: {text}"))?),
        None => Ok(FALLBACK_TIME),
    }
}

fn git(root: &Path, args: &[&str]) -> Option<String> {
    let told = tool::output(Command::new("git").current_dir(root).args(args)).ok()?;
    Some(told.trim().to_owned()).filter(|text| !text.is_empty())
}

/// The files below a folder, by their path in it.
fn firmware(folder: &Path) -> Result<Vec<(String, Vec<u8>)>, Fault> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(inner) = folders.pop() {
        for entry in fs::read_dir(&inner).map_err(|error| format!("{}: {error}", inner.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder)?.to_str().ok_or("a name of firmware is no text")?.to_owned();
                found.push((name, fs::read(&path)?));
            }
        }
    }
    found.sort();
    Ok(found)
}
