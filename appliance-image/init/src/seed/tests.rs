use super::*;
use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::process::Command;

const USER_DATA: &str = "events {}\nhttp { server { listen 80; return 200 seeded; } }\n";
const META_DATA: &str = "instance-id: i-0042\nlocal-hostname: lb7\n";
const NETWORK: &str = "\
version: 2
ethernets:
  ens3:
    addresses: [192.0.2.7/24, '2001:db8::7/64']
    gateway4: 192.0.2.1
    routes:
      - {to: 10.0.0.0/8, via: 192.0.2.9}
    nameservers: {addresses: [192.0.2.53], search: [example.com]}
  second:
    match: {macaddress: '52:54:00:12:34:56'}
    dhcp4: true
vlans:
  v10: {id: 10, link: ens3, dhcp6: true}
";

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("fairlead-seed-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn file(&self, name: &str, content: &[u8]) -> &Folder {
        let path = self.0.join("files").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    fn iso(&self, label: &str, options: &[&str]) -> Vec<u8> {
        let image = self.0.join("seed.iso");
        let mut command = Command::new("genisoimage");
        command.args(["-quiet", "-V", label]).args(options).arg("-o").arg(&image).arg(self.0.join("files"));
        run(&mut command);
        fs::read(image).unwrap()
    }

    fn fat(&self, label: &str, kilobytes: &str, options: &[&str]) -> Vec<u8> {
        let image = self.0.join("seed.fat");
        run(Command::new("mkfs.vfat").args(options).args(["-n", label, "-C"]).arg(&image).arg(kilobytes));
        for entry in fs::read_dir(self.0.join("files")).unwrap() {
            let entry = entry.unwrap().path();
            run(Command::new("mcopy").arg("-s").arg("-i").arg(&image).arg(entry).arg("::"));
        }
        fs::read(image).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn run(command: &mut Command) {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let done = command.env("PATH", path).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
}

fn nocloud(folder: &Folder) -> &Folder {
    folder.file("user-data", USER_DATA.as_bytes()).file("meta-data", META_DATA.as_bytes());
    folder.file("network-config", NETWORK.as_bytes())
}

#[track_caller]
fn assert_whole(image: Vec<u8>) {
    let seed = read(Cursor::new(image)).unwrap().expect("its label is known");
    assert_eq!((seed.instance.as_str(), seed.files.len()), ("i-0042", 1));
    assert_eq!(seed.files.get(MAIN_FILE).map(Vec::as_slice), Some(USER_DATA.as_bytes()));
    let block = seed.appliance.expect("it has network settings");
    for line in [
        "hostname lb7;",
        "dns 192.0.2.53;",
        "search example.com;",
        "interface eth0 {",
        "address 2001:db8::7/64;",
        "gateway 192.0.2.1;",
        "route 10.0.0.0/8 via 192.0.2.9;",
        "interface 52:54:00:12:34:56 {",
        "address dhcp;",
        "vlan v10 {",
        "parent eth0;",
        "address auto;",
    ] {
        assert!(block.contains(line), "{line} is not in\n{block}");
    }
    assert_passes(&block);
    assert_eq!(seed.notes, ["network-config: \"ens3\" is taken for eth0"]);
}

/// The appliance's own rows take it.
#[track_caller]
fn assert_passes(block: &str) {
    let folder = Folder::new(&format!("block-{:?}", std::thread::current().id()));
    let file = folder.0.join("a.conf");
    fs::write(&file, block).unwrap();
    let reading = fairlead_appliance::read(Path::new(&file));
    assert!(reading.settings.is_some(), "{}\n{block}", reading.complaints());
}

#[test]
fn a_cd_is_read_with_joliet_rock_ridge_or_neither() {
    let folder = Folder::new("iso");
    nocloud(&folder);
    for options in [&["-J", "-r"][..], &["-r"], &["-J"], &["-iso-level", "4"]] {
        assert_whole(folder.iso("CIDATA", options));
    }
    assert_whole(folder.iso("cidata", &["-J", "-r"]));
}

#[test]
fn a_fat_disk_is_read_in_all_three_widths() {
    for (name, kilobytes, options) in
        [("12", "1440", &["-F", "12"][..]), ("16", "16384", &["-F", "16"]), ("32", "66560", &["-F", "32", "-s", "1"])]
    {
        let folder = Folder::new(name);
        assert_whole(nocloud(&folder).fat("CIDATA", kilobytes, options));
    }
}

#[test]
fn a_config_drive_is_read() {
    let folder = Folder::new("drive");
    folder.file("openstack/latest/user_data", USER_DATA.as_bytes());
    folder.file("openstack/latest/meta_data.json", br#"{"uuid": "83679162-1378", "hostname": "lb8"}"#);
    let network = r#"{"links": [{"id": "tap1", "type": "ovs", "mtu": 1450, "ethernet_mac_address": "fa:16:3e:11:22:33"}],
        "networks": [{"link": "tap1", "type": "ipv4", "ip_address": "10.1.2.3", "netmask": "255.255.255.0",
            "routes": [{"network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": "10.1.2.1"}]}],
        "services": [{"type": "dns", "address": "8.8.8.8"}]}"#;
    folder.file("openstack/latest/network_data.json", network.as_bytes());
    for image in [folder.iso("config-2", &["-J", "-r"]), folder.fat("CONFIG-2", "8192", &[])] {
        let seed = read(Cursor::new(image)).unwrap().unwrap();
        assert_eq!((seed.instance.as_str(), seed.files.len(), seed.notes.len()), ("83679162-1378", 1, 0));
        let block = seed.appliance.unwrap();
        for line in ["hostname lb8;", "interface fa:16:3e:11:22:33 {", "mtu 1450;", "address 10.1.2.3/24;"] {
            assert!(block.contains(line), "{line} is not in\n{block}");
        }
        assert!(block.contains("gateway 10.1.2.1;") && block.contains("dns 8.8.8.8;"), "{block}");
        assert_passes(&block);
    }
}

#[test]
fn other_volumes_are_left_alone() {
    let folder = Folder::new("other");
    nocloud(&folder);
    assert_eq!(read(Cursor::new(folder.iso("HOLIDAYS", &["-J"]))).unwrap(), None);
    assert_eq!(read(Cursor::new(vec![0; 100_000])).unwrap(), None);
    assert_eq!(read(Cursor::new(Vec::new())).unwrap(), None);
}

#[test]
fn a_cloud_config_brings_several_files() {
    let user_data = "#cloud-config\nhostname: lb9\nwrite_files:\n\
        - path: /etc/nginx/nginx.conf\n  content: |\n    events {}\n    http {}\n\
        - {path: /etc/fairlead/tls/a.key, encoding: b64, content: aGVsbG8=}\n\
        - {path: /etc/shadow, content: x}\n- {path: /etc/fairlead/../shadow, content: x}\n";
    let mut notes = Vec::new();
    let (files, hostname) = cloud_config::read(user_data.as_bytes(), &mut notes).unwrap();
    assert_eq!(hostname.as_deref(), Some("lb9"));
    assert_eq!(files.get(MAIN_FILE).unwrap(), b"events {}\nhttp {}\n");
    assert_eq!(files.get("tls/a.key").unwrap(), b"hello");
    assert_eq!((files.len(), notes.len()), (2, 2), "{notes:?}");
}

#[test]
fn version_1_of_the_network_is_read() {
    let text = "network:\n  version: 1\n  config:\n\
        \x20 - {type: physical, name: eth0, mac_address: '52:54:00:00:00:01'}\n\
        \x20 - {type: physical, name: eth1, subnets: [{type: dhcp}]}\n\
        \x20 - {type: bond, name: bond0, bond_interfaces: [eth0, eth1], params: {bond-mode: 802.3ad}}\n\
        \x20 - type: vlan\n    name: bond0.5\n    vlan_link: bond0\n    vlan_id: 5\n    mtu: 1400\n    subnets:\n\
        \x20   - {type: static, address: 192.0.2.5, netmask: 255.255.255.128, gateway: 192.0.2.1, dns_nameservers: 192.0.2.2}\n\
        \x20 - {type: nameserver, address: [192.0.2.3], search: [a.example]}\n";
    let block = links::read(&yaml::parse(text).unwrap(), None).block().unwrap();
    for line in [
        "member 52:54:00:00:00:01 eth1;",
        "mode 802.3ad;",
        "address 192.0.2.5/25;",
        "dns 192.0.2.2 192.0.2.3;",
        "gateway 192.0.2.1;",
        "mtu 1400;",
    ] {
        assert!(block.contains(line), "{line} is not in\n{block}");
    }
}

#[test]
fn nothing_of_a_seed_gets_out_of_its_statement() {
    let text = "version: 2\nethernets:\n  'eth0; } http {': {dhcp4: true}\n  eth0: {addresses: ['1.2.3.4/24; x']}\n\
        vlans:\n  v: {id: 4, link: 'a;b'}\n";
    let links = links::read(&yaml::parse(text).unwrap(), Some("a; b"));
    assert_eq!((links.ports.len(), links.notes.len()), (1, 2));
    let block = links.block().unwrap();
    assert_eq!(block, "appliance {\n    interface eth0 {\n    }\n}\n");
}

#[test]
fn yaml_bombs_are_refused() {
    assert!(yaml::parse("a: &a [x]\nb: [*a, *a]").is_err());
    assert!(yaml::parse(&"[".repeat(100_000)).is_err());
    assert!(yaml::parse(&"- x\n".repeat(200_000)).is_err());
    assert!(yaml::parse("? [a]\n: b").is_err());
}

/// Whatever is written over a volume: an answer or an error, within the time of the test.
#[test]
fn damaged_volumes_never_panic() {
    let folder = Folder::new("hostile");
    nocloud(&folder);
    let images = [folder.iso("CIDATA", &["-J", "-r"]), folder.fat("CIDATA", "1440", &["-F", "12"])];
    for image in images {
        for seed in 0..256u64 {
            let mut image = image.clone();
            let mut dice = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            let mut next = || {
                dice ^= dice << 13;
                dice ^= dice >> 7;
                dice ^= dice << 17;
                dice
            };
            // Where the structures are: descriptors, tables, folders.
            for _ in 0..40 {
                let at = (next() % 65_536) as usize;
                if let Some(byte) = image.get_mut(at) {
                    *byte = next() as u8;
                }
            }
            let length = image.len();
            image.truncate(if seed % 8 == 0 { next() as usize % length } else { length });
            let _ = read(Cursor::new(image));
        }
    }
}
