//! What `fairleadctl --help` prints, and the page of each command: one row each.

/// One command: its words, and what they do.
pub struct Row {
    pub name: &'static str,
    pub arguments: &'static str,
    pub summary: &'static str,
    pub details: &'static str,
}

pub const COMMANDS: &[Row] = &[
    Row {
        name: "keygen",
        arguments: "",
        summary: "make this user's key, or show it",
        details: "Needs no HOST. The key is ~/.config/fairlead/client.key; whoever has it can manage what knows it.",
    },
    Row {
        name: "enroll",
        arguments: "CODE [--name NAME]",
        summary: "make the key known by a code of the console",
        details: "The console's menu shows the code: twelve letters, good once and for ten minutes. Both sides prove\n\
                  that they know it, so this also makes the appliance known here. NAME is what its logs call you.",
    },
    Row {
        name: "push",
        arguments: "FILE|FOLDER [--dry-run] [--confirm TIME] [--note TEXT]",
        summary: "put a configuration into force",
        details: "FILE becomes the appliance's fairlead.conf; a FOLDER must hold a fairlead.conf and whatever it\n\
                  includes. The appliance checks it first: every mistake is shown with its line, and changes nothing.\n\
                  --dry-run only checks. With --confirm 5m it is taken back after 5 minutes unless `confirm` is said\n\
                  before: for changes that could cut you off. A change of addresses waits to be confirmed by itself;\n\
                  --confirm off keeps it at once.",
    },
    Row {
        name: "confirm",
        arguments: "",
        summary: "keep what was pushed with --confirm",
        details: "If you can say this, you are not cut off.",
    },
    Row {
        name: "cancel",
        arguments: "",
        summary: "take back what waits to be confirmed, now",
        details: "The version before it is in force again.",
    },
    Row {
        name: "pull",
        arguments: "[VERSION] [--to FOLDER]",
        summary: "get the configuration, or an earlier version of it",
        details: "Without --to, fairlead.conf is printed; with it, all files are written there.",
    },
    Row {
        name: "versions",
        arguments: "",
        summary: "list the versions that are kept",
        details: "The last twenty. An arrow marks the one in force.",
    },
    Row {
        name: "use",
        arguments: "VERSION [--confirm TIME]",
        summary: "put an earlier version into force again",
        details: "It is checked like one that is pushed.",
    },
    Row {
        name: "status",
        arguments: "",
        summary: "show how it is doing",
        details: "Version, slot, addresses, listeners, peers, last errors.",
    },
    Row {
        name: "logs",
        arguments: "[-f] [--lines N]",
        summary: "show its log; -f follows it",
        details: "The last 100 lines, or N.",
    },
    Row {
        name: "update",
        arguments: "FILE [--allow-downgrade]",
        summary: "write a new system beside the running one",
        details: "FILE is a signed image, fairlead-X.Y.Z-BUILD.efi, with its signature beside it as FILE.sig. Traffic\n\
                  flows on. The new system boots once on trial at the next start (`reboot`); if it does not serve, the\n\
                  old one is back and says why.",
    },
    Row {
        name: "rollback",
        arguments: "",
        summary: "go back to the system before this one",
        details: "It boots on trial at the next start (`reboot`), like an update.",
    },
    Row { name: "reboot", arguments: "", summary: "restart it", details: "Connections are drained first." },
    Row { name: "poweroff", arguments: "", summary: "turn it off", details: "Connections are drained first." },
    Row {
        name: "backup",
        arguments: "FILE [--only-configuration]",
        summary: "write all that makes it what it is into one file",
        details: "A tar file with the configuration, keys and password: keep it secret. With --only-configuration it\n\
                  holds no key of the management and no password (but the keys of your sites, if you pushed them).",
    },
    Row {
        name: "restore",
        arguments: "FILE [--confirm TIME]",
        summary: "make it what a backup says",
        details: "The configuration is checked like one that is pushed. Your own key stays known. The appliance's key\n\
                  is that of the backup after its next start.",
    },
    Row {
        name: "support",
        arguments: "FILE",
        summary: "write what somebody who helps wants to see",
        details: "A tar file with status, logs and configuration, without passwords and private keys.",
    },
];

pub fn overview() -> String {
    let width = COMMANDS.iter().map(|row| row.name.len()).max().unwrap_or(0);
    let rows: String = COMMANDS.iter().map(|row| format!("  {:width$}  {}\n", row.name, row.summary)).collect();
    format!(
        "\
fairleadctl manages fairlead's appliances over the network.

Usage: fairleadctl HOST COMMAND [ARGUMENTS]
       fairleadctl keygen
       fairleadctl help COMMAND

HOST is a name or an address, with :PORT unless that is 8443, or a name of your own from
~/.config/fairlead/appliances, which has a line for each appliance that is known:
  NAME ADDRESS:PORT FINGERPRINT

{rows}
Options:
  --fingerprint HEX  the key that the appliance must have; its console shows it
  -h, --help         this, or the page of a command
  -v, --version      the version

The first time:
  fairleadctl keygen
  fairleadctl 192.0.2.10 enroll K7QF-2M9X-WB4T     (the code is on the console)
  fairleadctl 192.0.2.10 push fairlead.conf --confirm 5m
  fairleadctl 192.0.2.10 confirm

It ends with 0 when it is done, 1 when the appliance refused, 2 when the command line or a file
here is wrong, 3 when the appliance cannot be reached, 4 when one does not know the other's key.
"
    )
}

pub fn row(name: &str) -> Option<&'static Row> {
    COMMANDS.iter().find(|row| row.name == name)
}

pub fn page(row: &Row) -> String {
    let host = if row.name == "keygen" { "" } else { " HOST" };
    let usage = format!("fairleadctl{host} {} {}", row.name, row.arguments);
    format!("Usage: {}\n\n{}.\n{}\n", usage.trim_end(), capital(row.summary), row.details)
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}
