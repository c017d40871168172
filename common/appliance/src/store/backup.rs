//! A backup: one tar file with the configuration that is served and, unless only that is wanted,
//! what makes the machine the one it is. It is read in memory and never unpacked to a disk.

use super::files::{BadFiles, Files};
use super::keys::{AUTHORIZED, PASSWORD, SERVER_KEY};
use super::{Disk, Result, Store, StoreError};
use std::io::{self, Read};
use tar::{Archive, Builder, EntryType, Header};

const LABEL: &str = "fairlead-backup";
const CONFIGURATION: &str = "configuration/";
/// Bytes of a file that is no configuration.
const MOST_SMALL: u64 = 64 << 10;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backup {
    pub files: Files,
    /// The format the files are written in.
    pub format: u32,
    pub server_key: Option<Vec<u8>>,
    pub authorized_keys: Option<Vec<u8>>,
    pub password: Option<Vec<u8>>,
}

#[derive(Debug, thiserror::Error)]
pub enum BadBackup {
    #[error("this is no backup of fairlead")]
    NotOne,
    #[error("the backup is damaged: {0}")]
    Damaged(io::Error),
    #[error("the backup is of a newer system: it is written in format {0}")]
    TooNew(u32),
    #[error(transparent)]
    Files(#[from] BadFiles),
}

impl Backup {
    pub fn to_tar(&self) -> io::Result<Vec<u8>> {
        let mut tar = Builder::new(Vec::new());
        append(&mut tar, LABEL, format!("format {}\n", self.format).as_bytes())?;
        for (name, contents) in self.files.iter() {
            append(&mut tar, &format!("{CONFIGURATION}{name}"), contents)?;
        }
        for (name, contents) in
            [(SERVER_KEY, &self.server_key), (AUTHORIZED, &self.authorized_keys), (PASSWORD, &self.password)]
        {
            contents.as_deref().map_or(Ok(()), |contents| append(&mut tar, name, contents))?;
        }
        tar.into_inner()
    }

    pub fn from_tar(bytes: &[u8]) -> std::result::Result<Backup, BadBackup> {
        let mut backup = Backup::default();
        let mut archive = Archive::new(bytes);
        let mut labelled = false;
        for entry in archive.entries().map_err(BadBackup::Damaged)? {
            let entry = entry.map_err(BadBackup::Damaged)?;
            if entry.header().entry_type() != EntryType::Regular {
                continue;
            }
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            if !labelled && name != LABEL {
                return Err(BadBackup::NotOne);
            }
            labelled = true;
            backup.take(&name, entry)?;
        }
        if !labelled {
            return Err(BadBackup::NotOne);
        }
        backup.files = backup.files.whole()?;
        Ok(backup)
    }

    fn take(&mut self, name: &str, entry: impl Read) -> std::result::Result<(), BadBackup> {
        let bounded = |most: u64| {
            let mut contents = Vec::new();
            let read = entry.take(most + 1).read_to_end(&mut contents).map_err(BadBackup::Damaged)?;
            if read as u64 > most { Err(BadBackup::Files(BadFiles::TooMuch)) } else { Ok(contents) }
        };
        if let Some(name) = name.strip_prefix(CONFIGURATION) {
            return Ok(self.files.add(name, bounded(super::MOST_BYTES as u64)?)?);
        }
        let contents = bounded(MOST_SMALL)?;
        match name {
            LABEL => self.format = format_of(&contents).ok_or(BadBackup::NotOne)?,
            SERVER_KEY => self.server_key = Some(contents),
            AUTHORIZED => self.authorized_keys = Some(contents),
            PASSWORD => self.password = Some(contents),
            // Of a later release.
            _ => {}
        }
        Ok(())
    }
}

fn format_of(label: &[u8]) -> Option<u32> {
    std::str::from_utf8(label).ok()?.strip_prefix("format ")?.trim_end().parse().ok()
}

fn append(tar: &mut Builder<Vec<u8>>, name: &str, contents: &[u8]) -> io::Result<()> {
    let mut header = Header::new_ustar();
    header.set_size(contents.len() as u64);
    header.set_mode(0o600);
    header.set_entry_type(EntryType::Regular);
    tar.append_data(&mut header, name, contents)
}

impl<D: Disk> Store<D> {
    /// What is served and, unless `only_configuration`, keys and password.
    pub fn backup(&self, only_configuration: bool) -> Result<Option<Backup>> {
        let Some(boot) = self.boot()?.0 else { return Ok(None) };
        let mut backup = Backup { format: self.card(boot.number)?.format, files: boot.files, ..Backup::default() };
        if !only_configuration {
            backup.server_key = self.small(SERVER_KEY)?;
            backup.authorized_keys = self.small(AUTHORIZED)?;
            backup.password = self.small(PASSWORD)?;
        }
        Ok(Some(backup))
    }

    /// The files of a backup in this system's format.
    pub fn files_of(&self, backup: &Backup) -> Result<Files> {
        if backup.format > self.formats.newest {
            return Err(StoreError::Migration(BadBackup::TooNew(backup.format).to_string()));
        }
        self.formats.migrate(backup.format, backup.files.clone()).map_err(StoreError::Migration)
    }

    /// Keys and password of a backup, each replaced as a whole.
    pub fn restore_identity(&self, backup: &Backup) -> Result<()> {
        for (name, contents) in
            [(SERVER_KEY, &backup.server_key), (AUTHORIZED, &backup.authorized_keys), (PASSWORD, &backup.password)]
        {
            contents.as_deref().map_or(Ok(()), |contents| self.replace(name, contents))?;
        }
        Ok(())
    }
}
