//! A new image on its way onto the disk. Its first sector is kept back until the rest has been read
//! back from the disk and is found to be signed: until then no firmware takes the file for a program.

use crate::partition::Partition;
use crate::slots::{Installed, Slots, path_of};
use fairlead_disk::signature::verify;
use fairlead_disk::slot::{FileName, Version};
use fairlead_disk::uki::Image;
use fairlead_disk::{Fault, SECTOR};
use std::io::{self, Read, Seek, SeekFrom};

/// Bytes of the largest image.
pub const MOST_BYTES: u64 = 64 << 20;
const SMALLEST: u64 = 4096;

/// What is announced of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    pub version: Version,
    /// Bytes.
    pub size: u64,
    /// An older one than the running one is wanted.
    pub allow_downgrade: bool,
}

#[derive(Debug)]
pub struct Incoming {
    version: Version,
    size: u64,
    arrived: u64,
    /// The first sector.
    head: Vec<u8>,
}

impl Incoming {
    /// Refuses what could not be installed, and makes room for the rest.
    pub fn begin<P: Partition>(offer: Offer, slots: &Slots<P>) -> Result<Incoming, Fault> {
        let Offer { version, size, allow_downgrade } = offer;
        let refuse = |why: String| Err(Fault::Format(why));
        if slots.keys.is_empty() {
            return refuse("no key may sign an update of this appliance".to_owned());
        }
        if !(SMALLEST..=MOST_BYTES).contains(&size) {
            return refuse(format!("an image of {size} bytes; {SMALLEST} to {MOST_BYTES} are possible"));
        }
        if version == slots.running {
            return refuse(format!("version {version} is running already"));
        }
        if version < slots.running && !allow_downgrade {
            return refuse(format!(
                "version {version} is older than {}, which is running; --allow-downgrade takes it all the same",
                slots.running
            ));
        }
        if slots.is_settled(version) {
            return refuse(format!("version {version} is what this one has to prove itself against"));
        }
        slots.make_room(size, version)?;
        let incoming = Incoming { version, size, arrived: 0, head: Vec::new() };
        // On the disk before the file grows: what a removed image left on it must not look like a program.
        let created = slots.partition.create(&incoming.path(), SECTOR).and_then(|()| slots.partition.sync());
        if let Err(error) = created {
            incoming.abort(slots);
            return Err(error.into());
        }
        Ok(incoming)
    }

    pub fn arrived(&self) -> u64 {
        self.arrived
    }

    pub fn version(&self) -> Version {
        self.version
    }

    /// The next piece.
    pub fn take<P: Partition>(&mut self, piece: &[u8], slots: &Slots<P>) -> Result<(), Fault> {
        let until = self.arrived.saturating_add(piece.len() as u64);
        if until > self.size {
            return Err(Fault::Format(format!("more than the {} bytes that were announced", self.size)));
        }
        let missing = usize::try_from(SECTOR).unwrap_or(usize::MAX).saturating_sub(self.head.len());
        let (head, rest) = piece.split_at(missing.min(piece.len()));
        self.head.extend_from_slice(head);
        if !rest.is_empty() {
            slots.partition.write_at(&self.path(), self.arrived + head.len() as u64, rest)?;
        }
        self.arrived = until;
        Ok(())
    }

    /// All has arrived: verifies what is on the disk and, if it is good, has it boot next.
    pub fn commit<P: Partition>(self, signature: &[u8], slots: &Slots<P>) -> Result<Installed, Fault> {
        let committed = self.verify(signature, slots).and_then(|()| {
            slots.partition.write_at(&self.path(), 0, &self.head)?;
            slots.partition.sync()?;
            slots.boot_next(self.version)
        });
        if committed.is_err() {
            self.abort(slots);
        }
        committed
    }

    fn verify<P: Partition>(&self, signature: &[u8], slots: &Slots<P>) -> Result<(), Fault> {
        if self.arrived < self.size {
            return Err(Fault::Format(format!("only {} of {} bytes arrived", self.arrived, self.size)));
        }
        slots.partition.sync()?;
        let mut whole = Whole { head: &self.head, file: slots.partition.open(&self.path())?, at: 0 };
        verify(&mut whole, signature, &slots.keys)?;
        // Signed, and so what somebody meant; the rest is whether it is what was asked for.
        let image = Image::read(&mut whole)?;
        let version = image.version(&mut whole)?;
        if version != self.version {
            return Err(Fault::Format(format!("the image is version {version}, not {}", self.version)));
        }
        fairlead_disk::grub::slot(&image, &mut whole).map(drop)
    }

    /// Leaves nothing behind.
    pub fn abort<P: Partition>(&self, slots: &Slots<P>) {
        // What cannot be removed is no program, and makes room when the next one comes.
        let _ = slots.remove(self.version);
    }

    fn path(&self) -> String {
        path_of(&FileName::on_trial(self.version))
    }
}

/// The file as it will be: the first sector from memory, the others from the disk.
struct Whole<'w, F> {
    head: &'w [u8],
    file: F,
    at: u64,
}

impl<F: Read + Seek> Read for Whole<'_, F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let head = usize::try_from(self.at).ok().and_then(|at| self.head.get(at..)).filter(|head| !head.is_empty());
        let read = match head {
            Some(mut head) => head.read(buffer)?,
            None => {
                self.file.seek(SeekFrom::Start(self.at))?;
                self.file.read(buffer)?
            }
        };
        self.at += read as u64;
        Ok(read)
    }
}

impl<F: Read + Seek> Seek for Whole<'_, F> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = match to {
            SeekFrom::Start(at) => at,
            SeekFrom::End(_) => self.file.seek(to)?,
            SeekFrom::Current(by) => self.at.checked_add_signed(by).ok_or(io::ErrorKind::InvalidInput)?,
        };
        Ok(self.at)
    }
}
