//! As much of ELF (64 bits, little-endian) as it takes to find a section by its name.

/// The bytes of a section.
pub fn section<'f>(file: &'f [u8], wanted: &str) -> Option<&'f [u8]> {
    if file.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let table = u64_at(file, 0x28)?;
    let (size, count, names) = (u16_at(file, 0x3a)?, u16_at(file, 0x3c)?, u16_at(file, 0x3e)?);
    let header = |number: usize| file.get(table.checked_add(number * size)?..);
    let bytes = |header: &[u8]| {
        let (offset, length) = (u64_at(header, 0x18)?, u64_at(header, 0x20)?);
        file.get(offset..offset.checked_add(length)?)
    };
    let names = bytes(header(names)?)?;
    (0..count).filter_map(header).find_map(|header| {
        let name = names.get(u32_at(header, 0)?..)?.split(|byte| *byte == 0).next()?;
        (name == wanted.as_bytes()).then(|| bytes(header))?
    })
}

fn u16_at(bytes: &[u8], at: usize) -> Option<usize> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?).into())
}

fn u32_at(bytes: &[u8], at: usize) -> Option<usize> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?) as usize)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<usize> {
    usize::try_from(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?)).ok()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// An ELF file with nothing but `.modinfo` and the sections' names.
    pub(in crate::module) fn module(info: &str) -> Vec<u8> {
        let names = b"\0.modinfo\0.shstrtab\0";
        let mut file = b"\x7fELF\x02\x01".to_vec();
        file.resize(0x40, 0);
        let (info_at, names_at) = (0x40, 0x40 + info.len());
        file.extend(info.as_bytes());
        file.extend(names);
        let table = file.len();
        for (name, offset, length) in [(0_u32, 0, 0), (1, info_at, info.len()), (10, names_at, names.len())] {
            let mut header = [0; 64];
            header[..4].copy_from_slice(&name.to_le_bytes());
            header[0x18..0x20].copy_from_slice(&(offset as u64).to_le_bytes());
            header[0x20..0x28].copy_from_slice(&(length as u64).to_le_bytes());
            file.extend(header);
        }
        file[0x28..0x30].copy_from_slice(&(table as u64).to_le_bytes());
        file[0x3a..0x40].copy_from_slice(&[64, 0, 3, 0, 2, 0]);
        file
    }

    #[test]
    fn finds_a_section_by_name() {
        let file = module("license=GPL\0");
        assert_eq!(section(&file, ".modinfo"), Some(&b"license=GPL\0"[..]));
        assert_eq!(section(&file, ".text"), None);
        for length in 0..file.len() {
            let _ = section(&file[..length], ".modinfo");
        }
    }
}
