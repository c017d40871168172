//! Who waits, in the order they came: a list whose entries may leave from anywhere at once.
//! Fixed in its bound, without locks, wakers and a clock.

/// No entry: places are counted from 0.
const NONE: u32 = u32::MAX;

#[derive(Debug)]
pub(super) struct Line {
    /// Grows to the longest the line ever was.
    entries: Vec<Entry>,
    free: Vec<u32>,
    first: u32,
    last: u32,
    len: usize,
    /// Those who cannot use everything that becomes free.
    choosy: usize,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    before: u32,
    behind: u32,
    choosy: bool,
    /// Something may be free for them.
    called: bool,
}

impl Default for Line {
    fn default() -> Line {
        Line { entries: Vec::new(), free: Vec::new(), first: NONE, last: NONE, len: 0, choosy: 0 }
    }
}

impl Line {
    pub fn len(&self) -> usize {
        self.len
    }

    #[cfg(test)]
    pub fn memory(&self) -> usize {
        self.entries.len()
    }

    /// Those who cannot use everything let others by.
    pub fn has_choosy(&self) -> bool {
        self.choosy > 0
    }

    /// A place behind all others, in a line of `most` at most.
    pub fn join(&mut self, most: usize, choosy: bool) -> Option<u32> {
        if self.len >= most.min(NONE as usize) {
            return None;
        }
        let entry = Entry { before: self.last, behind: NONE, choosy, called: false };
        let at = match self.free.pop() {
            Some(at) => at,
            None => {
                self.entries.push(entry);
                (self.entries.len() - 1) as u32
            }
        };
        if let Some(place) = self.entries.get_mut(at as usize) {
            *place = entry;
        }
        self.link(entry.before, at);
        self.last = at;
        self.len += 1;
        self.choosy += usize::from(choosy);
        Some(at)
    }

    /// Gives a place up. Who is to be called then: the next one, if this one was the first or had been
    /// called and may not have used it.
    pub fn leave(&mut self, at: u32) -> Option<u32> {
        let entry = *self.entries.get(at as usize)?;
        let was_first = self.first == at;
        self.link(entry.before, entry.behind);
        match entry.behind {
            NONE => self.last = entry.before,
            behind => {
                if let Some(next) = self.entries.get_mut(behind as usize) {
                    next.before = entry.before;
                }
            }
        }
        self.free.push(at);
        self.len -= 1;
        self.choosy -= usize::from(entry.choosy);
        let called = was_first || entry.called;
        Some(entry.behind).filter(|behind| called && *behind != NONE)
    }

    pub fn first(&self) -> Option<u32> {
        Some(self.first).filter(|first| *first != NONE)
    }

    /// Who stands behind `at`.
    pub fn behind(&self, at: u32) -> Option<u32> {
        self.entries.get(at as usize).map(|entry| entry.behind).filter(|behind| *behind != NONE)
    }

    pub fn call(&mut self, at: u32) {
        if let Some(entry) = self.entries.get_mut(at as usize) {
            entry.called = true;
        }
    }

    /// Whether the one at `at` was called since the last time it was asked.
    pub fn answer(&mut self, at: u32) -> bool {
        self.entries.get_mut(at as usize).is_some_and(|entry| std::mem::take(&mut entry.called))
    }

    /// `behind` comes next after `before`.
    fn link(&mut self, before: u32, behind: u32) {
        match before {
            NONE => self.first = behind,
            before => {
                if let Some(entry) = self.entries.get_mut(before as usize) {
                    entry.behind = behind;
                }
            }
        }
    }
}
