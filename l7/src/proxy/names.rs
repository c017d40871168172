//! A small set of field names, compared without case.

/// Asked once per field of every message: a bit per length rules out most names at once.
#[derive(Clone, Debug, Default)]
pub struct NameSet {
    lengths: u64,
    names: Vec<Box<[u8]>>,
}

impl NameSet {
    pub fn insert(&mut self, name: impl Into<Box<[u8]>>) {
        let name = name.into();
        if !self.contains(&name) {
            self.lengths |= length_bit(&name);
            self.names.push(name);
        }
    }

    pub fn contains(&self, name: &[u8]) -> bool {
        self.lengths & length_bit(name) != 0 && self.names.iter().any(|known| known.eq_ignore_ascii_case(name))
    }
}

impl<N: Into<Box<[u8]>>> FromIterator<N> for NameSet {
    fn from_iter<I: IntoIterator<Item = N>>(names: I) -> NameSet {
        let mut set = NameSet::default();
        names.into_iter().for_each(|name| set.insert(name));
        set
    }
}

fn length_bit(name: &[u8]) -> u64 {
    1 << name.len().min(63)
}
