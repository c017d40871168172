//! Unified kernel images (UAPI.5): a PE program for UEFI, systemd's stub, that carries kernel, initramfs and command
//! line as sections. One file is one version of the appliance, and one thing to sign.
//!
//! Sections begin at sectors of the file, so that GRUB can read kernel and initramfs out of it in place on BIOS.

use std::io::{Read, Seek, SeekFrom};

use crate::{Fault, SECTOR};

/// Where a section is loaded: whole pages, which is more than the stub's own alignment.
const PAGE: u64 = 4096;
const SECTION_BYTES: usize = 40;
/// Initialised data, readable.
const DATA: u32 = 0x4000_0040;
const MOST_SECTIONS: usize = 96;
/// What headers are sought in.
const MOST_HEADER_BYTES: u64 = 4096;
/// Offsets from the PE signature: in the COFF header, and in the optional header behind it.
const SYMBOLS: usize = 12;
const OPTIONAL: usize = 24;
const INITIALIZED_BYTES: usize = OPTIONAL + 8;
const FILE_ALIGNMENT: usize = OPTIONAL + 36;
const IMAGE_BYTES: usize = OPTIONAL + 56;
const HEADER_BYTES: usize = OPTIONAL + 60;
const CHECKSUM: usize = OPTIONAL + 64;

pub const OS_RELEASE: &str = ".osrel";
pub const COMMAND_LINE: &str = ".cmdline";
pub const KERNEL_RELEASE: &str = ".uname";
pub const KERNEL: &str = ".linux";
pub const INITRAMFS: &str = ".initrd";

/// What an image is made of.
pub struct Parts<'a> {
    /// systemd's `linuxx64.efi.stub`.
    pub stub: &'a [u8],
    /// os-release(5): its `VERSION_ID` is the image's version.
    pub os_release: &'a str,
    pub command_line: &'a str,
    pub kernel_release: &'a str,
    pub kernel: &'a [u8],
    pub initramfs: &'a [u8],
}

/// Puts the parts together.
pub fn build(parts: &Parts<'_>) -> Result<Vec<u8>, Fault> {
    let mut program = Program::open(parts.stub)?;
    program.append(OS_RELEASE, parts.os_release.as_bytes())?;
    program.append(COMMAND_LINE, parts.command_line.as_bytes())?;
    program.append(KERNEL_RELEASE, parts.kernel_release.as_bytes())?;
    program.append(KERNEL, parts.kernel)?;
    program.append(INITRAMFS, parts.initramfs)?;
    Ok(program.finish())
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    pub name: String,
    /// Where it begins in the file, and how many bytes of it count.
    pub offset: u64,
    pub size: u64,
    address: u64,
}

/// Where an image's sections lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    pub sections: Vec<Section>,
}

impl Image {
    /// Reads the headers of a file. One that is cut before the end of a section is a fault.
    pub fn read(file: &mut (impl Read + Seek)) -> Result<Image, Fault> {
        let length = file.seek(SeekFrom::End(0))?;
        file.seek(SeekFrom::Start(0))?;
        let mut header = Vec::new();
        file.by_ref().take(MOST_HEADER_BYTES).read_to_end(&mut header)?;
        let sections = sections(&header).ok_or_else(|| Fault::format("not a unified kernel image"))?;
        match sections.iter().find(|section| section.offset + section.size > length) {
            Some(cut) => {
                let (name, needed) = (&cut.name, cut.offset + cut.size);
                Err(Fault::Format(format!("the image is cut: {name} ends at byte {needed} of {length}")))
            }
            None => Ok(Image { sections }),
        }
    }

    pub fn section(&self, name: &str) -> Result<&Section, Fault> {
        let found = self.sections.iter().find(|section| section.name == name);
        found.ok_or_else(|| Fault::Format(format!("the image has no section {name}")))
    }

    /// A section that is text: os-release, command line, kernel release.
    pub fn text(&self, file: &mut (impl Read + Seek), name: &str) -> Result<String, Fault> {
        let section = self.section(name)?;
        let not_text = || Fault::Format(format!("section {name} is no text"));
        if section.size > 64 << 10 {
            return Err(not_text());
        }
        file.seek(SeekFrom::Start(section.offset))?;
        let mut bytes = vec![0; section.size as usize];
        file.read_exact(&mut bytes)?;
        let text = String::from_utf8(bytes).map_err(|_| not_text())?;
        Ok(text.trim_end_matches('\0').to_owned())
    }

    /// What `.osrel` has as `VERSION_ID`.
    pub fn version(&self, file: &mut (impl Read + Seek)) -> Result<crate::slot::Version, Fault> {
        let text = self.text(file, OS_RELEASE)?;
        let value = text.lines().find_map(|line| line.strip_prefix("VERSION_ID="));
        value.ok_or_else(|| Fault::format("the image says no VERSION_ID"))?.trim_matches('"').parse()
    }
}

fn sections(header: &[u8]) -> Option<Vec<Section>> {
    let pe = u32_at(header, 0x3c)? as usize;
    if header.get(..2)? != b"MZ" || header.get(pe..pe.checked_add(4)?)? != b"PE\0\0" {
        return None;
    }
    let count = usize::from(u16_at(header, pe + 6)?);
    let table = pe + OPTIONAL + usize::from(u16_at(header, pe + 20)?);
    if count > MOST_SECTIONS {
        return None;
    }
    let entries = header.get(table..table.checked_add(count * SECTION_BYTES)?)?.chunks_exact(SECTION_BYTES);
    entries
        .map(|entry| {
            let name = entry.get(..8)?.split(|byte| *byte == 0).next()?;
            let (loaded, stored) = (u32_at(entry, 8)?, u32_at(entry, 16)?);
            Some(Section {
                name: String::from_utf8_lossy(name).into_owned(),
                offset: u32_at(entry, 20)?.into(),
                size: loaded.min(stored).into(),
                address: u32_at(entry, 12)?.into(),
            })
        })
        .collect()
}

/// A PE program in the making.
struct Program {
    bytes: Vec<u8>,
    pe: usize,
    table: usize,
    count: usize,
    /// Where the next section is loaded.
    free: u64,
    added: u64,
}

impl Program {
    fn open(stub: &[u8]) -> Result<Program, Fault> {
        let foreign = || Fault::format("the stub is no PE program for UEFI");
        let sections = sections(stub).ok_or_else(foreign)?;
        let pe = u32_at(stub, 0x3c).ok_or_else(foreign)? as usize;
        let table = pe + OPTIONAL + usize::from(u16_at(stub, pe + 20).ok_or_else(foreign)?);
        let alignment = u32_at(stub, pe + FILE_ALIGNMENT).ok_or_else(foreign)?;
        if u64::from(alignment) != SECTOR || u16_at(stub, pe + OPTIONAL) != Some(0x20b) {
            return Err(foreign());
        }
        let free = sections.iter().map(|section| section.address + section.size).max().ok_or_else(foreign)?;
        // Symbols lie behind the sections. Whoever computes a digest of the program wants no gap there.
        let end = sections.iter().map(|section| section.offset + section.size).max().ok_or_else(foreign)?;
        let headers = u32_at(stub, pe + HEADER_BYTES).ok_or_else(foreign)?.into();
        let end = end.max(headers).next_multiple_of(SECTOR) as usize;
        let mut bytes = stub.get(..end).ok_or_else(foreign)?.to_vec();
        bytes.get_mut(pe + SYMBOLS..pe + SYMBOLS + 8).ok_or_else(foreign)?.fill(0);
        Ok(Program { bytes, pe, table, count: sections.len(), free: free.next_multiple_of(PAGE), added: 0 })
    }

    fn append(&mut self, name: &str, content: &[u8]) -> Result<(), Fault> {
        let too_long = || Fault::Format(format!("section {name} is too long for PE"));
        let stored = content.len().next_multiple_of(SECTOR as usize);
        let entry = self.table + self.count * SECTION_BYTES;
        let room = u32_at(&self.bytes, self.pe + HEADER_BYTES).unwrap_or_default() as usize;
        if entry + SECTION_BYTES > room {
            let (needed, there) = ((entry + SECTION_BYTES) as u64, room as u64);
            return Err(Fault::Full { what: "the table of sections".into(), needed, there });
        }
        let numbers = [content.len() as u64, self.free, stored as u64, self.bytes.len() as u64];
        let mut fields = Vec::with_capacity(SECTION_BYTES);
        fields.extend(name.as_bytes());
        fields.resize(8, 0);
        for number in numbers {
            fields.extend(u32::try_from(number).map_err(|_| too_long())?.to_le_bytes());
        }
        fields.extend([0; 12]);
        fields.extend(DATA.to_le_bytes());
        self.bytes[entry..entry + SECTION_BYTES].copy_from_slice(&fields);
        self.bytes.extend(content);
        self.bytes.resize(self.bytes.len().next_multiple_of(SECTOR as usize), 0);
        self.count += 1;
        self.added += stored as u64;
        self.free = (self.free + content.len() as u64).next_multiple_of(PAGE);
        Ok(())
    }

    fn finish(mut self) -> Vec<u8> {
        let initialized = u32_at(&self.bytes, self.pe + INITIALIZED_BYTES).unwrap_or_default();
        let count = self.count as u16;
        self.bytes[self.pe + 6..self.pe + 8].copy_from_slice(&count.to_le_bytes());
        self.put(INITIALIZED_BYTES, initialized.wrapping_add(self.added as u32));
        self.put(IMAGE_BYTES, self.free as u32);
        self.put(CHECKSUM, 0);
        let checksum = checksum(&self.bytes);
        self.put(CHECKSUM, checksum);
        self.bytes
    }

    fn put(&mut self, at: usize, number: u32) {
        let at = self.pe + at;
        self.bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
    }
}

/// The checksum of PE: 16-bit words with their carries, and the length.
fn checksum(bytes: &[u8]) -> u32 {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) | u32::from(*pair.get(1).unwrap_or(&0)) << 8);
    let sum = words.fold(0_u32, |sum, word| {
        let sum = sum + word;
        (sum & 0xffff) + (sum >> 16)
    });
    sum + bytes.len() as u32
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::io::Cursor;

    /// A PE program with one empty section of code and room for eight more.
    pub(crate) fn stub() -> Vec<u8> {
        let mut stub = vec![0; 1024];
        let mut put = |at: usize, bytes: &[u8]| stub[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, b"MZ");
        put(0x3c, &[0x80]);
        put(0x80, b"PE\0\0\x64\x86\x01");
        put(0x80 + 20, &[240, 0]);
        put(0x80 + 24, &[0x0b, 0x02]);
        put(0x80 + FILE_ALIGNMENT, &512_u32.to_le_bytes());
        put(0x80 + HEADER_BYTES, &1024_u32.to_le_bytes());
        put(0x80 + 264, b".text\0\0\0");
        put(0x80 + 264 + 8, &100_u32.to_le_bytes());
        put(0x80 + 264 + 12, &0x4000_u32.to_le_bytes());
        stub
    }

    pub(crate) fn image(version: &str) -> Vec<u8> {
        build(&Parts {
            stub: &stub(),
            os_release: &format!("ID=fairlead\nVERSION_ID={version}\n"),
            command_line: "console=ttyS0 panic=5",
            kernel_release: "6.12",
            kernel: &[0x4b; 3000],
            initramfs: &[0x49; 513],
        })
        .unwrap()
    }

    #[test]
    fn reads_what_it_built() {
        let bytes = image("0.1.0-7");
        let mut file = Cursor::new(&bytes);
        let image = Image::read(&mut file).unwrap();
        assert_eq!(image.version(&mut file).unwrap().to_string(), "0.1.0-7");
        assert_eq!(image.text(&mut file, COMMAND_LINE).unwrap(), "console=ttyS0 panic=5");
        let kernel = image.section(KERNEL).unwrap();
        assert_eq!((kernel.size, kernel.offset % SECTOR), (3000, 0));
        assert!(bytes[kernel.offset as usize..][..3000].iter().all(|byte| *byte == 0x4b));
        let initramfs = image.section(INITRAMFS).unwrap();
        assert_eq!((initramfs.size, initramfs.address % PAGE), (513, 0));
        assert_eq!(initramfs.address, kernel.address + PAGE);
    }

    #[test]
    fn a_cut_image_is_a_fault_wherever_it_is_cut() {
        let bytes = image("0.1.0-7");
        for length in 0..bytes.len() - 511 {
            assert!(Image::read(&mut Cursor::new(&bytes[..length])).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn no_flipped_bit_of_the_headers_panics() {
        let bytes = image("0.1.0-7");
        for bit in 0..1024 * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let mut file = Cursor::new(&flipped);
            if let Ok(image) = Image::read(&mut file) {
                let _ = (image.version(&mut file), crate::grub::slot(&image, &mut file));
            }
        }
    }

    #[test]
    fn refuses_a_stub_without_room() {
        let mut full = stub();
        full[0x80 + HEADER_BYTES..][..4].copy_from_slice(&500_u32.to_le_bytes());
        let parts =
            Parts { stub: &full, os_release: "", command_line: "", kernel_release: "", kernel: &[], initramfs: &[] };
        assert!(matches!(build(&parts), Err(Fault::Full { .. })));
    }
}
