//! Small files that are asked for again and again, held in memory for a second, so that a request costs
//! one `stat` in place of opening, reading and closing.
//!
//! Each request still looks at its path: a file that was replaced, removed, changed, cut short or forbidden
//! since is not the one that is held, and goes the long way. No descriptor is kept, so nothing holds a
//! deleted file's blocks or a disk that is to be unmounted. Each worker thread has its own; it is bounded,
//! asks no clock and opens nothing. `disk` does.
//!
//! What `stat` can tell sets the rules:
//! - A file is held only when its last change is [`SETTLED`] old, as git does it: clocks of file systems tick
//!   slowly, and a second change within one tick cannot be told from the first.
//! - It is held for [`LIFE`] at most. Who writes through a shared mapping changes the time at the first of
//!   many writes, on some file systems never, and `write` sets it before it copies: such bytes may be that
//!   much late, no more.
//! - Only disks of this machine are trusted ([`is_local`]): what a network says of a file may be old until
//!   the file is opened.

use super::Stamp;
use ahash::{AHashMap, AHashSet, RandomState};
use fairlead_core::clock::Tick;
use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::time::Duration;

/// The longest file that is held.
const MOST_EACH: u64 = 64 << 10;
/// Bytes held on a worker thread, names included. When they are in use up, no other file is taken in.
const MOST: usize = 4 << 20;
/// What an entry costs beside its bytes and its name.
const ENTRY: usize = 192;
const LIFE: Duration = Duration::from_secs(1);
const SETTLED: Duration = Duration::from_secs(2);
/// How many paths are remembered as asked for, twice.
const MOST_ASKED: usize = 4096;

#[derive(Debug)]
struct Entry {
    bytes: Rc<[u8]>,
    stamp: Stamp,
    read: Tick,
}

#[derive(Debug, Default)]
struct Files {
    entries: AHashMap<Box<[u8]>, Entry>,
    held: usize,
    asked: Asked,
    swept: bool,
}

/// Paths that were asked for lately, by their hashes: once is no reason to hold a file. The newer ones become
/// the older ones after a while, or when they are many.
#[derive(Debug, Default)]
struct Asked {
    newer: AHashSet<u64>,
    older: AHashSet<u64>,
    since: Tick,
    hasher: RandomState,
}

#[derive(Debug, Default)]
pub(crate) struct Hot(RefCell<Files>);

impl Hot {
    /// What is held of a path, to be used if its file is still of this stamp.
    pub fn find(&self, path: &[u8], now: Tick) -> Option<(Rc<[u8]>, Stamp)> {
        let files = self.0.borrow();
        let entry = files.entries.get(path).filter(|entry| now.since(entry.read) < LIFE)?;
        Some((entry.bytes.clone(), entry.stamp))
    }

    /// Whether to hold a file of this stamp, which was opened. `unix` is now in milliseconds since 1970.
    pub fn wants(&self, path: &[u8], stamp: &Stamp, (now, unix): (Tick, u64)) -> bool {
        if stamp.length > MOST_EACH || unix < stamp.changed_millis().saturating_add(SETTLED.as_millis() as u64) {
            return false;
        }
        let mut files = self.0.borrow_mut();
        let again = files.asked.again(path, now);
        again && files.held + cost(path, stamp.length) <= MOST
    }

    /// Holds what was read of a file just now.
    pub fn keep(self: &Rc<Self>, path: &[u8], (bytes, stamp): (Rc<[u8]>, Stamp), now: Tick) {
        let mut files = self.0.borrow_mut();
        files.forget(path);
        files.held += cost(path, bytes.len() as u64);
        files.entries.insert(path.into(), Entry { bytes, stamp, read: now });
        if !std::mem::replace(&mut files.swept, true) {
            fairlead_core::net::spawn(sweep(Rc::downgrade(self)));
        }
    }

    pub fn forget(&self, path: &[u8]) {
        self.0.borrow_mut().forget(path);
    }
}

impl Files {
    fn forget(&mut self, path: &[u8]) {
        if let Some(entry) = self.entries.remove(path) {
            self.held = self.held.saturating_sub(cost(path, entry.bytes.len() as u64));
        }
    }

    /// Lets go of what is too old; true while there is more.
    fn sweep(&mut self, now: Tick) -> bool {
        self.entries.retain(|_, entry| now.since(entry.read) < LIFE);
        self.held = self.entries.iter().map(|(path, entry)| cost(path, entry.bytes.len() as u64)).sum();
        if self.entries.is_empty() {
            *self = Files::default();
        }
        self.swept
    }
}

impl Asked {
    /// Remembers that a path is asked for; true when it was already, at most twice [`LIFE`] ago.
    fn again(&mut self, path: &[u8], now: Tick) -> bool {
        let age = now.since(self.since);
        if age >= LIFE || self.newer.len() >= MOST_ASKED {
            self.older = std::mem::take(&mut self.newer);
            self.since = now;
        }
        if age >= LIFE * 2 {
            self.older.clear();
        }
        let hash = self.hasher.hash_one(path);
        !self.newer.insert(hash) || self.older.contains(&hash)
    }
}

fn cost(path: &[u8], length: u64) -> usize {
    ENTRY + path.len() + usize::try_from(length).unwrap_or(usize::MAX / 2)
}

/// Runs while files are held.
async fn sweep(hot: Weak<Hot>) {
    loop {
        tokio::time::sleep(LIFE).await;
        let Some(hot) = hot.upgrade() else { return };
        if !hot.0.borrow_mut().sweep(fairlead_core::clock::tick()) {
            return;
        }
    }
}

/// Whether a file system of this type always knows when a file changed: the usual ones of disks and memory.
pub(super) fn is_local(kind: i64) -> bool {
    const EXT: i64 = 0xef53;
    const XFS: i64 = 0x5846_5342;
    const BTRFS: i64 = 0x9123_683e;
    const F2FS: i64 = 0xf2f5_2010;
    const ZFS: i64 = 0x2fc1_2fc1;
    const BCACHEFS: i64 = 0xca45_1a4e;
    const OVERLAY: i64 = 0x794c_7630;
    const TMPFS: i64 = 0x0102_1994;
    const RAMFS: i64 = 0x8584_58f6;
    const SQUASHFS: i64 = 0x7371_7368;
    const EROFS: i64 = 0xe0f5_e1e2;
    const ISO: i64 = 0x9660;
    matches!(
        kind & 0xffff_ffff,
        EXT | XFS | BTRFS | F2FS | ZFS | BCACHEFS | OVERLAY | TMPFS | RAMFS | SQUASHFS | EROFS | ISO
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use fairlead_core::dice::Dice;

    fn stamp(inode: u64, length: u64, changed: u64) -> Stamp {
        let changed = ((changed / 1000) as i64, (changed % 1000 * 1_000_000) as i64);
        Stamp { device: 1, inode, mode: 0o100_644, owner: (0, 0), length, modified: (1, 0), changed }
    }

    fn bytes(length: u64) -> Rc<[u8]> {
        vec![b'x'; length as usize].into()
    }

    #[test]
    fn a_file_is_wanted_when_it_is_asked_for_again_soon() {
        let hot = Hot::default();
        let old = stamp(1, 100, 0);
        assert!(!hot.wants(b"/a", &old, (Tick(10_000), 1_000_000)), "once");
        assert!(hot.wants(b"/a", &old, (Tick(10_999), 1_000_000)), "twice within a second");
        assert!(!hot.wants(b"/a", &old, (Tick(14_000), 1_000_000)), "too late");
        assert!(!hot.wants(b"/b", &old, (Tick(14_000), 1_000_000)), "another one");
    }

    #[test]
    fn many_files_in_turn_are_all_wanted_and_too_many_are_not() {
        let old = stamp(1, 100, 0);
        for (count, wanted) in [(2_000, 2_000), (100_000, 0)] {
            let hot = Hot::default();
            let mut rounds = (0..2).map(|_| {
                let paths = (0..count).map(|number| format!("/{number}"));
                paths.filter(|path| hot.wants(path.as_bytes(), &old, (Tick(10_000), 1_000_000))).count()
            });
            assert_eq!((rounds.next(), rounds.next()), (Some(0), Some(wanted)), "{count}");
            let asked = &hot.0.borrow().asked;
            assert!(asked.newer.len().max(asked.older.len()) <= MOST_ASKED);
        }
    }

    #[test]
    fn a_file_that_changed_lately_or_is_long_is_not_wanted() {
        for (stamp, wanted) in [
            (stamp(1, 100, 998_000), true),
            (stamp(1, 100, 998_001), false),
            (stamp(1, 100, 2_000_000), false),
            (stamp(1, MOST_EACH, 0), true),
            (stamp(1, MOST_EACH + 1, 0), false),
        ] {
            let hot = Hot::default();
            hot.wants(b"/a", &stamp, (Tick(10_000), 1_000_000));
            assert_eq!(hot.wants(b"/a", &stamp, (Tick(10_000), 1_000_000)), wanted, "{stamp:?}");
        }
    }

    #[test]
    fn it_stays_bounded_and_holds_nothing_for_long() {
        for seed in 0..256 {
            let mut dice = Dice::new(seed);
            let hot = Rc::new(Hot::default());
            // Nothing sweeps but this test.
            hot.0.borrow_mut().swept = true;
            let mut now = Tick(1_000_000);
            for _ in 0..2_000 {
                now = now.after(Duration::from_millis(dice.roll(20)));
                let path = [b'a' + dice.roll(26) as u8, b'a' + dice.roll(26) as u8];
                let stamp = stamp(dice.roll(4), dice.roll(MOST_EACH), 0);
                if let Some((bytes, stamp)) = hot.find(&path, now) {
                    assert_eq!(bytes.len() as u64, stamp.length, "seed {seed}");
                } else if hot.wants(&path, &stamp, (now, 10_000_000)) {
                    hot.keep(&path, (bytes(stamp.length), stamp), now);
                    assert_eq!(hot.find(&path, now).map(|(_, known)| known), Some(stamp), "seed {seed}");
                }
                match dice.roll(50) {
                    0 => assert!(hot.0.borrow_mut().sweep(now) || hot.0.borrow().entries.is_empty(), "seed {seed}"),
                    1 => hot.forget(&path),
                    _ => {}
                }
                let mut files = hot.0.borrow_mut();
                files.swept = true;
                let sum: usize = files.entries.iter().map(|(path, entry)| cost(path, entry.bytes.len() as u64)).sum();
                assert_eq!(files.held, sum, "seed {seed}");
                assert!(files.held <= MOST, "seed {seed}");
            }
            now = now.after(LIFE);
            assert!(!hot.0.borrow_mut().sweep(now), "seed {seed}: all of it is too old");
            assert_eq!(hot.0.borrow().held, 0, "seed {seed}");
        }
    }

    #[test]
    fn what_is_held_is_told_for_a_second() {
        let hot = Rc::new(Hot::default());
        hot.0.borrow_mut().swept = true;
        hot.keep(b"/a", (bytes(3), stamp(1, 3, 0)), Tick(5_000));
        assert_eq!(hot.find(b"/a", Tick(5_999)), Some((bytes(3), stamp(1, 3, 0))));
        assert_eq!(hot.find(b"/a", Tick(6_000)), None);
        hot.forget(b"/a");
        assert_eq!(hot.find(b"/a", Tick(5_000)), None);
    }

    #[test]
    fn a_network_is_not_believed() {
        const NFS: i64 = 0x6969;
        const FUSE: i64 = 0x6573_5546;
        const CIFS: i64 = 0xff53_4d42;
        const NINE_P: i64 = 0x0102_1997;
        assert!([NFS, FUSE, CIFS, NINE_P].into_iter().all(|kind| !is_local(kind)));
        assert!(is_local(0xef53) && is_local(0x0102_1994));
    }
}
