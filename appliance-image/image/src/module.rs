//! Kernel modules: which an image has, and the index of them that PID 1 reads. Debian's packages carry no such index,
//! so it is made of what each module says of itself in its section `.modinfo`.

mod elf;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use crate::{Fault, Kind};

const TABLE: &str = include_str!("../modules.txt");

/// Every module of a kernel package, compressed as it came.
pub struct Modules {
    /// By name, with `_` for `-`.
    files: BTreeMap<String, Vec<u8>>,
    builtin: BTreeSet<String>,
}

/// A module of an image.
pub struct Module {
    pub name: String,
    /// The ELF file. Its signature, at the end, stays.
    pub content: Vec<u8>,
    needs: Vec<String>,
    likes: Vec<String>,
    aliases: Vec<String>,
}

impl Modules {
    /// From the files of a package; `builtin` is its list of what is within the kernel.
    pub fn new(files: impl IntoIterator<Item = (String, Vec<u8>)>, builtin: &str) -> Modules {
        let files = files.into_iter().filter(|(path, _)| path.contains(".ko"));
        Modules {
            files: files.map(|(path, content)| (name_of(&path), content)).collect(),
            builtin: builtin.lines().map(name_of).collect(),
        }
    }

    /// The modules of an image and all that they lean on, by name.
    /// `firmware`: the image has files for drivers that need them.
    pub fn choose(&self, kind: Kind, firmware: bool) -> Result<Vec<Module>, Fault> {
        let mut chosen: BTreeMap<String, Module> = BTreeMap::new();
        let mut wanted: Vec<String> = names(kind, firmware);
        while let Some(name) = wanted.pop() {
            if chosen.contains_key(&name) || self.builtin.contains(&name) {
                continue;
            }
            let file = self.files.get(&name).ok_or_else(|| format!("the kernel has no module {name}"))?;
            let module = Module::read(name, unpack(file)?)?;
            let liked = module.likes.iter().filter(|name| self.files.contains_key(*name));
            wanted.extend(module.needs.iter().chain(liked).cloned());
            chosen.insert(module.name.clone(), module);
        }
        Ok(chosen.into_values().collect())
    }
}

impl Module {
    fn read(name: String, content: Vec<u8>) -> Result<Module, Fault> {
        let section = elf::section(&content, ".modinfo").ok_or_else(|| format!("{name} is no kernel module"))?;
        let text = String::from_utf8_lossy(section).into_owned();
        let values = |key: &str| -> Vec<String> {
            let pairs = text.split('\0').filter_map(|pair| pair.split_once('='));
            pairs.filter(|(own, _)| *own == key).map(|(_, value)| value.to_owned()).collect()
        };
        let plain = |name: &str| name.replace('-', "_");
        let depends = values("depends");
        let needs = depends.iter().flat_map(|names| names.split(',')).filter(|name| !name.is_empty());
        let needs = needs.map(plain).collect();
        // "pre: a b post: c", of which each is better there than not.
        let softdeps = values("softdep");
        let likes = softdeps.iter().flat_map(|names| names.split_whitespace()).map(plain);
        let likes = likes.filter(|name| !name.ends_with(':')).collect();
        Ok(Module { needs, likes, aliases: values("alias"), name, content })
    }

    /// Its line of the index, for a module that lies at `path`.
    pub fn line(&self, path: &str) -> String {
        let (needs, likes, aliases) = (self.needs.join(","), self.likes.join(","), self.aliases.join(" "));
        format!("{}\t{path}\t{needs}\t{likes}\t{aliases}\n", self.name)
    }
}

/// The names that the table has for an image.
fn names(kind: Kind, firmware: bool) -> Vec<String> {
    let with_firmware = format!("{}-firmware", kind.name());
    let mut counts = false;
    let mut names = Vec::new();
    for line in TABLE.lines().filter(|line| !line.starts_with('#')) {
        match line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            Some(kinds) => {
                counts = kinds.split(' ').any(|name| name == kind.name() || (firmware && name == with_firmware));
            }
            None if counts => names.extend(line.split_whitespace().map(str::to_owned)),
            None => {}
        }
    }
    names
}

/// `kernel/drivers/net/virtio-net.ko.xz` is `virtio_net`.
fn name_of(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split(".ko").next().unwrap_or(file).replace('-', "_")
}

fn unpack(file: &[u8]) -> Result<Vec<u8>, Fault> {
    if file.starts_with(b"\x7fELF") {
        return Ok(file.to_vec());
    }
    let mut content = Vec::new();
    liblzma::read::XzDecoder::new(file).read_to_end(&mut content)?;
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel(modules: &[(&str, &str)], builtin: &str) -> Modules {
        let files = modules.iter().map(|(name, info)| (format!("kernel/{name}.ko"), elf::tests::module(info)));
        Modules::new(files, builtin)
    }

    /// Every module of the table, leaning on nothing, but for those given.
    fn whole<'a>(kind: Kind, special: &[(&'a str, &'a str)]) -> Modules {
        let mut modules = kernel(special, "");
        let plain = kernel(&[("plain", "license=GPL\0")], "").files.remove("plain").unwrap();
        for name in names(kind, false) {
            modules.files.entry(name).or_insert_with(|| plain.clone());
        }
        modules
    }

    #[test]
    fn a_module_brings_what_it_leans_on() {
        let special = [
            ("virtio-net", "depends=net-failover,virtio\0alias=virtio:d00000001v*\0"),
            ("net_failover", "depends=failover\0softdep=pre: absent crc32c-x post: late\0"),
            ("failover", "license=GPL\0"),
            ("crc32c-x", ""),
            ("late", ""),
            ("unwanted", ""),
        ];
        let mut modules = whole(Kind::Tiny, &special);
        modules.builtin.insert("virtio".to_owned());
        let chosen = modules.choose(Kind::Tiny, false).unwrap();
        let there = |name: &str| chosen.iter().any(|module| module.name == name);
        for name in ["virtio_net", "net_failover", "failover", "crc32c_x", "late"] {
            assert!(there(name), "{name}");
        }
        assert!(!there("virtio") && !there("absent") && !there("unwanted"));
        let adapter = chosen.iter().find(|module| module.name == "virtio_net").unwrap();
        assert_eq!(adapter.line("v.ko"), "virtio_net\tv.ko\tnet_failover,virtio\t\tvirtio:d00000001v*\n");
    }

    #[test]
    fn a_module_that_a_kernel_has_not_ends_the_build() {
        let modules = whole(Kind::Tiny, &[("virtio_net", "depends=gone\0")]);
        assert_eq!(modules.choose(Kind::Tiny, false).err().unwrap().to_string(), "the kernel has no module gone");
    }

    #[test]
    fn the_universal_image_has_every_driver_of_the_tiny_one() {
        let (universal, tiny) = (names(Kind::Universal, true), names(Kind::Tiny, true));
        assert!(tiny.len() > 30 && tiny.iter().all(|name| universal.contains(name)));
        let once: BTreeSet<_> = universal.iter().collect();
        assert_eq!(once.len(), universal.len(), "a name is there twice");
        assert!(names(Kind::Universal, false).len() < universal.len());
    }
}
