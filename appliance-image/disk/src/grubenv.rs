//! GRUB's environment block: 1 KiB of `name=value` lines that GRUB rewrites in place before the kernel runs, and so the
//! only state that a boot on BIOS can keep.

use crate::Fault;

const SIGNATURE: &str = "# GRUB Environment Block\n";
pub const BLOCK_BYTES: usize = 1024;

/// The variables, in the order of the block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment(Vec<(String, String)>);

impl Environment {
    pub fn parse(block: &[u8]) -> Result<Environment, Fault> {
        let text = std::str::from_utf8(block).ok().and_then(|text| text.strip_prefix(SIGNATURE));
        let text =
            text.filter(|_| block.len() == BLOCK_BYTES).ok_or_else(|| Fault::format("not a GRUB environment"))?;
        let variables = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('='));
        Ok(Environment(variables.map(|(name, value)| (name.to_owned(), unescape(value))).collect()))
    }

    /// An empty value and no value are the same to GRUB.
    pub fn value(&self, name: &str) -> &str {
        self.0.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    pub fn set(&mut self, name: &str, value: &str) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => value.clone_into(old),
            None => self.0.push((name.to_owned(), value.to_owned())),
        }
    }

    pub fn to_block(&self) -> Result<[u8; BLOCK_BYTES], Fault> {
        let lines: String = self.0.iter().map(|(name, value)| format!("{name}={}\n", escape(value))).collect();
        let text = format!("{SIGNATURE}{lines}");
        let mut block = [b'#'; BLOCK_BYTES];
        let space = block.get_mut(..text.len()).ok_or_else(|| Fault::Full {
            what: "GRUB's environment".into(),
            needed: text.len() as u64,
            there: BLOCK_BYTES as u64,
        })?;
        space.copy_from_slice(text.as_bytes());
        Ok(block)
    }
}

fn escape(value: &str) -> String {
    value.replace('\\', r"\\")
}

fn unescape(value: &str) -> String {
    let mut rest = value.chars();
    std::iter::from_fn(|| match rest.next()? {
        '\\' => rest.next(),
        other => Some(other),
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_was_set() {
        let mut environment = Environment::default();
        environment.set("slot", "0.1.0-7");
        environment.set("try", "0.1.0-8");
        environment.set("try", "");
        let block = environment.to_block().unwrap();
        assert!(block.starts_with(b"# GRUB Environment Block\nslot=0.1.0-7\ntry=\n####"));
        assert_eq!(Environment::parse(&block).unwrap(), environment);
        assert_eq!((environment.value("slot"), environment.value("try")), ("0.1.0-7", ""));
    }

    #[test]
    fn refuses_what_is_no_environment_and_what_does_not_fit() {
        assert!(Environment::parse(&[b'#'; BLOCK_BYTES]).is_err());
        assert!(Environment::parse(b"# GRUB Environment Block\nslot=1\n").is_err());
        let mut long = Environment::default();
        long.set("slot", &"x".repeat(1000));
        assert!(long.to_block().is_err());
    }
}
