//! The first sector of the disk: the protective partition entry that keeps old tools away (UEFI 2.10, section 5.2.3),
//! and GRUB's code, by which BIOS starts. GRUB's two images are bound to where they lie here, as `grub-bios-setup`
//! would do, which needs root and a mounted disk.

use crate::{Fault, SECTOR};

/// Code in the first sector ends here: a disk signature and four entries follow.
const CODE_BYTES: usize = 440;
const ENTRY: usize = 446;
/// In `boot.img`: which sector to load, and a jump that is taken on drives that lie about their number.
const KERNEL_SECTOR: usize = 0x5c;
const DRIVE_CHECK: usize = 0x66;
/// In the first sector of `core.img`: one list of blocks, to its end: sector, count, and the segment to load to.
const BLOCKS: usize = 0x1f4;
const LOAD_SEGMENT: u16 = 0x820;

/// GRUB for BIOS, as `grub-mkimage` and the package `grub-pc-bin` give it.
pub struct Grub<'g> {
    /// `boot.img`.
    pub boot: &'g [u8],
    /// The `core.img` of this disk.
    pub core: &'g [u8],
}

/// The disk's first sector, with GRUB's code if BIOS is to start it; `core` is the sector at which its core lies.
pub fn first_sector(sectors: u64, grub: Option<(&Grub<'_>, u64)>) -> Result<[u8; 512], Fault> {
    let mut sector = [0; 512];
    if let Some((grub, core)) = grub {
        let boot = grub.boot.get(..CODE_BYTES).ok_or_else(|| Fault::format("boot.img is too short"))?;
        sector[..CODE_BYTES].copy_from_slice(boot);
        sector[KERNEL_SECTOR..KERNEL_SECTOR + 8].copy_from_slice(&core.to_le_bytes());
        sector[DRIVE_CHECK..DRIVE_CHECK + 2].copy_from_slice(&[0x90, 0x90]);
    }
    let entry = &mut sector[ENTRY..ENTRY + 16];
    entry[1..8].copy_from_slice(&[0x00, 0x02, 0x00, 0xee, 0xff, 0xff, 0xff]);
    entry[8..12].copy_from_slice(&1_u32.to_le_bytes());
    let length = u32::try_from(sectors.saturating_sub(1)).unwrap_or(u32::MAX);
    entry[12..].copy_from_slice(&length.to_le_bytes());
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    Ok(sector)
}

/// GRUB's core as it lies at sector `first` of the disk, where `room` sectors are free.
pub fn place_core(core: &[u8], first: u64, room: u64) -> Result<Vec<u8>, Fault> {
    let sectors = (core.len() as u64).div_ceil(SECTOR);
    if sectors > room {
        return Err(Fault::Full { what: "GRUB's core".into(), needed: sectors * SECTOR, there: room * SECTOR });
    }
    let mut placed = core.to_vec();
    placed.resize((sectors * SECTOR) as usize, 0);
    let rest = u16::try_from(sectors.saturating_sub(1)).map_err(|_| Fault::format("GRUB's core is too long"))?;
    let list = placed.get_mut(BLOCKS..SECTOR as usize).ok_or_else(|| Fault::format("GRUB's core is too short"))?;
    list[..8].copy_from_slice(&(first + 1).to_le_bytes());
    list[8..10].copy_from_slice(&rest.to_le_bytes());
    list[10..].copy_from_slice(&LOAD_SEGMENT.to_le_bytes());
    Ok(placed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protects_the_whole_disk() {
        let sector = first_sector(4096, None).unwrap();
        assert_eq!(sector[450], 0xee);
        assert_eq!(sector[454..462], [1, 0, 0, 0, 0xff, 0x0f, 0, 0]);
        assert!(sector[..440].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn tells_grub_where_its_core_lies() {
        let grub = Grub { boot: &[0x77; 512], core: &[0x11; 1300] };
        let sector = first_sector(4096, Some((&grub, 40))).unwrap();
        assert_eq!((sector[0], sector[0x5c], sector[0x66], sector[0x67]), (0x77, 40, 0x90, 0x90));
        let core = place_core(grub.core, 40, 2008).unwrap();
        assert_eq!(core.len(), 1536);
        assert_eq!(core[0x1f4..0x200], [41, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0x20, 8]);
        assert!(matches!(place_core(grub.core, 40, 2), Err(Fault::Full { needed: 1536, there: 1024, .. })));
    }
}
