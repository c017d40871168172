//! `user-data`: the configuration itself, or `#cloud-config` whose `write_files` hold it.

use super::yaml::{self, Yaml};
use super::{Files, LARGEST_FILE, MAIN_FILE};

/// Folders whose files are ours; what is written elsewhere belongs to another system.
const FOLDERS: &[&str] = &["/etc/fairlead/", "/etc/nginx/", "/run/fairlead/"];
const MAIN_NAMES: &[&str] = &[MAIN_FILE, "nginx.conf"];

/// The files, and the host's name if it has one.
///
/// # Errors
/// What cannot be understood.
pub fn read(user_data: &[u8], notes: &mut Vec<String>) -> Result<(Files, Option<String>), String> {
    let mut files = Files::new();
    let text = std::str::from_utf8(user_data).map_err(|_| "user-data is not text in UTF-8".to_owned())?;
    let Some(first) = text.lines().find(|line| !line.trim().is_empty()) else { return Ok((files, None)) };
    if text.starts_with("#!") || first.starts_with("Content-Type:") || first.starts_with("#include") {
        notes.push("user-data is a script or a bundle; only a configuration or #cloud-config is taken".into());
        return Ok((files, None));
    }
    if !text.starts_with("#cloud-config") {
        files.insert(MAIN_FILE.to_owned(), user_data.to_vec());
        return Ok((files, None));
    }
    let config = yaml::parse(text).map_err(|error| format!("user-data: {error}"))?;
    for file in config.list_at("write_files") {
        write(file, &mut files, notes)?;
    }
    let hostname = config.text_at("fqdn").or(config.text_at("hostname")).map(str::to_owned);
    Ok((files, hostname))
}

fn write(file: &Yaml, files: &mut Files, notes: &mut Vec<String>) -> Result<(), String> {
    let path = file.text_at("path").unwrap_or_default();
    let ours = FOLDERS.iter().find_map(|folder| path.strip_prefix(folder));
    let Some(name) = ours.filter(|name| is_below(name)) else {
        notes.push(format!("user-data: write_files has {path:?}, which is outside /etc/fairlead"));
        return Ok(());
    };
    let name = if MAIN_NAMES.contains(&name) { MAIN_FILE } else { name };
    let content = file.text_at("content").unwrap_or_default();
    let bytes = match file.text_at("encoding").unwrap_or("text/plain") {
        "text/plain" => content.as_bytes().to_vec(),
        "b64" | "base64" => base64(content).ok_or_else(|| format!("user-data: {path} is not base64"))?,
        other => return Err(format!("user-data: {path} is encoded as {other}; text or b64 is taken")),
    };
    let total: usize = files.values().map(Vec::len).sum();
    if total + bytes.len() > LARGEST_FILE {
        return Err("user-data: the files are larger than 4 MiB together".into());
    }
    files.insert(name.to_owned(), bytes);
    Ok(())
}

/// A path of plain parts that does not leave its folder.
pub fn is_below(path: &str) -> bool {
    let plain = |part: &str| !matches!(part, "" | "." | "..") && part.chars().all(|letter| !letter.is_control());
    !path.is_empty() && path.len() <= 255 && path.split('/').all(plain)
}

fn base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0u32, 0);
    for letter in text.bytes().filter(|letter| !letter.is_ascii_whitespace() && *letter != b'=') {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    Some(bytes)
}
