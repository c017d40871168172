//! What the management's server reads of whoever connects, and what PID 1 reads of a file that somebody
//! restores.

use fairlead_appliance::management::frame::{self, MOST_BYTES_OF_STRANGER};
use fairlead_appliance::management::{Answer, Asked};
use fairlead_appliance::store::{Backup, authorized_keys_text, parse_authorized_keys};

/// Frames, the JSON inside them, keys and backups: what is understood is written as it was read.
pub fn management(data: &[u8]) {
    if let Ok(Some((kind, body))) = frame::read(MOST_BYTES_OF_STRANGER, &mut &data[..]) {
        assert!(body.len() <= MOST_BYTES_OF_STRANGER);
        let mut again = Vec::new();
        frame::write(kind, &body, &mut again).expect("what was read can be written");
        assert!(data.starts_with(&again));
        json(&body);
    }
    json(data);
    let keys = parse_authorized_keys(&String::from_utf8_lossy(data));
    assert_eq!(parse_authorized_keys(&authorized_keys_text(&keys)), keys);
    if let Ok(backup) = Backup::from_tar(data) {
        let again = Backup::from_tar(&backup.to_tar().expect("what was read can be written"));
        assert_eq!(again.expect("what was written can be read"), backup);
        let leaves = |name: &str| name.starts_with('/') || name.split('/').any(|part| part.starts_with('.'));
        assert!(backup.files.iter().all(|(name, _)| !leaves(name)));
    }
}

fn json(body: &[u8]) {
    if let Ok(asked) = Asked::parse(body) {
        let again = serde_json::to_vec(&asked).expect("what was read can be written");
        assert_eq!(Asked::parse(&again), Ok(asked));
    }
    if let Ok(answer) = serde_json::from_slice::<Answer>(body) {
        assert_eq!(serde_json::from_str::<Answer>(answer.to_line().trim_end()).ok(), Some(answer));
    }
}
