//! What can be asked of an appliance, and what it answers: one JSON object each, the same between
//! `fairleadctl` and the server as between the server, or the console, and PID 1.

use super::Fingerprint;
use super::enrol::Proof;
use crate::store::{File, Number};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Request {
    /// Anything worth knowing: keys and values for a person to read.
    Status,
    /// A new configuration.
    Push {
        files: Vec<File>,
        #[serde(default)]
        dry_run: bool,
        /// Seconds it has to be confirmed; 0 is for good at once, none is as the appliance thinks best.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        confirm: Option<u64>,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        note: String,
    },
    /// What is on trial stays.
    Confirm,
    /// What is on trial goes, now.
    Cancel,
    /// `files` of a version; of the one that is served when none is named.
    Pull {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<Number>,
    },
    Versions,
    /// An earlier (or later) version again.
    Use {
        version: Number,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        confirm: Option<u64>,
    },
    /// `lines` from line number `after` on, at most `most` of them, and `next`, where to go on. What is
    /// past the last line is its end.
    Log {
        #[serde(default)]
        after: u64,
        most: u32,
    },
    /// A new system follows, in pieces.
    UpdateBegin {
        /// Which one the file says it is.
        version: String,
        size: u64,
        /// ed25519 over the file, base64.
        signature: String,
        #[serde(default)]
        allow_downgrade: bool,
    },
    /// The next piece, base64.
    UpdateData {
        data: String,
    },
    /// That was all: it is verified and, if it is good, boots on trial at the next start.
    UpdateCommit,
    UpdateAbort,
    /// The system before this one, by a restart.
    Rollback,
    Reboot,
    Poweroff,
    /// `data`, a tar file in base64.
    Backup {
        #[serde(default)]
        only_configuration: bool,
    },
    Restore {
        data: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        confirm: Option<u64>,
    },
    /// `data`, a tar file in base64 with what somebody who helps wants to see, and no secret.
    Support,
    /// A key that is not known yet, and the proof that its owner has seen the console.
    Enroll {
        proof: Proof,
        server: Fingerprint,
        client: Fingerprint,
        name: String,
    },
    /// Asked by the management's server: may this key manage, and whose is it?
    Authorize {
        key: Fingerprint,
    },
    /// Asked by the console: a code to enrol a key with.
    EnrollCode,
    FactoryReset,
    SetAddress {
        interface: String,
        /// `dhcp`, or `ADDRESS/LENGTH`.
        address: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        gateway: Option<String>,
    },
    /// As `crypt` hashes it; empty asks for none.
    SetPassword {
        hash: String,
    },
}

impl Request {
    /// May be asked from afar, by a key that is known.
    pub fn is_for_the_network(&self) -> bool {
        !matches!(
            self,
            Request::Enroll { .. }
                | Request::Authorize { .. }
                | Request::EnrollCode
                | Request::FactoryReset
                | Request::SetAddress { .. }
                | Request::SetPassword { .. }
        )
    }
}

/// Who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct By {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Fingerprint>,
    /// Empty for whoever is at the machine.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
}

impl By {
    /// For logs and versions.
    pub fn words(&self) -> String {
        match (self.name.as_str(), self.key) {
            ("", None) => "console".to_owned(),
            ("", Some(key)) => format!("key {}", key.short()),
            (name, _) => name.to_owned(),
        }
    }
}

/// A line to PID 1: a request, and who asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    #[serde(default)]
    pub by: By,
    #[serde(flatten)]
    pub request: Request,
}

impl Asked {
    /// Of one line; an error is an answer already.
    pub fn parse(line: &[u8]) -> Result<Asked, Answer> {
        serde_json::from_slice(line).map_err(|error| Answer::refused(format!("not understood: {error}")))
    }
}

/// `ok`, the errors if it is not, and what was asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    pub ok: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
    #[serde(flatten)]
    pub values: Map<String, Value>,
}

impl Answer {
    pub fn done() -> Answer {
        Answer { ok: true, errors: Vec::new(), values: Map::new() }
    }

    pub fn refused(why: impl Into<String>) -> Answer {
        Answer::failed(vec![why.into()])
    }

    pub fn failed(errors: Vec<String>) -> Answer {
        Answer { ok: false, errors, values: Map::new() }
    }

    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Answer {
        self.values.insert(name.to_owned(), value.into());
        self
    }

    /// A value that is text; empty when there is none.
    pub fn text(&self, name: &str) -> &str {
        self.values.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    pub fn number(&self, name: &str) -> Option<u64> {
        self.values.get(name)?.as_u64()
    }

    /// A value that is a list of text.
    pub fn lines(&self, name: &str) -> Vec<String> {
        let lines = self.values.get(name).and_then(Value::as_array).into_iter().flatten();
        lines.filter_map(Value::as_str).map(str::to_owned).collect()
    }

    /// One line of JSON, with its end.
    pub fn to_line(&self) -> String {
        // Keys are text, so this cannot fail; were it to, the asker is told in the same form.
        let line = serde_json::to_string(self);
        line.unwrap_or_else(|_| r#"{"ok":false,"errors":["the answer cannot be written"]}"#.to_owned()) + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_the_words_of_the_contract() {
        let read = |text: &str| Asked::parse(text.as_bytes()).map(|asked| asked.request);
        assert_eq!(read(r#"{"do":"status"}"#), Ok(Request::Status));
        assert_eq!(read(r#"{"do":"use","version":7}"#), Ok(Request::Use { version: Number(7), confirm: None }));
        assert_eq!(read(r#"{"do":"update-commit","later":"field"}"#), Ok(Request::UpdateCommit));
        let by = Asked::parse(br#"{"do":"confirm","by":{"name":"ann"}}"#).unwrap().by;
        assert_eq!((by.words().as_str(), By::default().words().as_str()), ("ann", "console"));
        for bad in ["", "null", "[]", "{}", r#"{"do":"nothing"}"#, r#"{"do":"push"}"#, r#"{"do":"use","version":-1}"#] {
            assert!(!read(bad).unwrap_err().ok, "{bad}");
        }
        assert!(read(&"[".repeat(100_000)).is_err());
    }

    #[test]
    fn what_is_for_the_console_is_not_for_the_network() {
        for words in ["enroll-code", "factory-reset"] {
            let asked = Asked::parse(format!(r#"{{"do":"{words}"}}"#).as_bytes()).unwrap();
            assert!(!asked.request.is_for_the_network());
        }
        assert!(Request::Reboot.is_for_the_network());
    }
}
