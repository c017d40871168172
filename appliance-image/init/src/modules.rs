//! Which kernel modules a machine wants and in which order. Pure: the builder's index and the
//! devices' names in, paths out. [`load`] hands them to the kernel.
//!
//! The index has one module a line: `name<TAB>path<TAB>deps,…<TAB>softdeps,…<TAB>alias alias …`.

pub mod glob;
pub mod load;

use std::collections::{HashMap, HashSet};

#[derive(Debug, Default)]
pub struct Index {
    modules: Vec<Module>,
    by_name: HashMap<String, usize>,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Module {
    pub name: String,
    /// As the index has it: absolute, or relative to the index's folder.
    pub path: String,
    needs: Vec<String>,
    /// Loaded before it where they are there.
    likes: Vec<String>,
    aliases: Vec<String>,
}

/// A module that something needs is not in the image.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("module {0} is not in the image")]
pub struct Missing(pub String);

impl Index {
    /// Lines that are not in the format are left out.
    pub fn parse(text: &str) -> Index {
        let mut index = Index::default();
        for line in text.lines() {
            let mut fields = line.split('\t');
            let (Some(name), Some(path)) = (fields.next(), fields.next()) else { continue };
            if name.is_empty() || name.starts_with('#') || path.is_empty() {
                continue;
            }
            let module = Module {
                name: plain(name),
                path: path.to_owned(),
                needs: list(fields.next()),
                likes: list(fields.next()),
                aliases: fields.next().unwrap_or_default().split_whitespace().map(str::to_owned).collect(),
            };
            index.by_name.insert(module.name.clone(), index.modules.len());
            index.modules.push(module);
        }
        index
    }

    pub fn len(&self) -> usize {
        self.modules.len()
    }

    pub fn is_empty(&self) -> bool {
        self.modules.is_empty()
    }

    pub fn modules(&self) -> &[Module] {
        &self.modules
    }

    /// The modules that say they drive the device of this `modalias`.
    pub fn matching<'a>(&'a self, modalias: &'a str) -> impl Iterator<Item = &'a str> {
        let drives = |module: &&Module| module.aliases.iter().any(|alias| glob::matches(alias, modalias));
        self.modules.iter().filter(drives).map(|module| module.name.as_str())
    }

    /// `name` (or an alias without stars, such as `crc32c`) and all it leans on, the first to load first.
    ///
    /// # Errors
    /// When it or what it needs is not in the index.
    pub fn order(&self, name: &str) -> Result<Vec<&Module>, Missing> {
        let mut order = Vec::new();
        self.visit(name, &mut HashSet::new(), &mut order)?;
        Ok(order)
    }

    fn visit<'a>(&'a self, name: &str, seen: &mut HashSet<usize>, order: &mut Vec<&'a Module>) -> Result<(), Missing> {
        let at = self.find(name).ok_or_else(|| Missing(name.to_owned()))?;
        // A circle ends here too: whoever comes first goes first.
        if !seen.insert(at) {
            return Ok(());
        }
        let Some(module) = self.modules.get(at) else { return Ok(()) };
        for need in &module.needs {
            self.visit(need, seen, order)?;
        }
        for like in &module.likes {
            // Built into the kernel, or left out on purpose.
            let _ = self.visit(like, seen, order);
        }
        order.push(module);
        Ok(())
    }

    fn find(&self, name: &str) -> Option<usize> {
        let name = plain(name);
        self.by_name.get(&name).copied().or_else(|| {
            let called = |module: &Module| module.aliases.iter().any(|alias| plain(alias) == name);
            self.modules.iter().position(called)
        })
    }
}

/// The kernel takes `-` and `_` for the same.
fn plain(name: &str) -> String {
    name.replace('-', "_")
}

fn list(field: Option<&str>) -> Vec<String> {
    let names = field.unwrap_or_default().split([',', ' ']).filter(|name| !name.is_empty());
    names.map(plain).collect()
}

#[cfg(test)]
mod tests;
