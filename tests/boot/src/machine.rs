//! A virtual machine: what is plugged in, then what it does.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fairlead_harness::{Directory, Port, eventually_within};

use crate::qmp::Buttons;
use crate::segment::Segment;

/// The machine's way to this one: what a test listens on at 127.0.0.1 is there at this address.
pub const HOST: &str = "10.0.2.2";
/// The address QEMU gives a machine that asks for one.
pub const GUEST: &str = "10.0.2.15";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Firmware {
    Bios,
    Uefi,
    /// With the keys of Debian's OVMF for tests enrolled.
    SecureBoot,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Card {
    Virtio,
    E1000e,
    Vmxnet3,
}

/// What is plugged in.
pub struct Machine {
    directory: Directory,
    firmware: Firmware,
    memory: u32,
    arguments: Vec<String>,
    card: Card,
    forwards: Vec<Forward>,
    segment: Option<(String, u8)>,
    reboots: bool,
}

struct Forward {
    udp: bool,
    inside: u16,
    port: Port,
}

/// One machine runs at a time, or one pair: they share two processors with everybody else.
static TURN: Mutex<()> = Mutex::new(());

/// The right to run machines; those that share it run together.
#[derive(Clone)]
pub struct Turn(#[expect(dead_code, reason = "it is held, not read")] Arc<MutexGuard<'static, ()>>);

impl Turn {
    #[expect(clippy::arc_with_non_send_sync, reason = "a turn stays with the test that took it")]
    pub fn wait() -> Turn {
        Turn(Arc::new(TURN.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl Default for Machine {
    fn default() -> Machine {
        Machine::new()
    }
}

impl Machine {
    pub fn new() -> Machine {
        Machine {
            directory: Directory::new(),
            firmware: Firmware::Bios,
            memory: 256,
            arguments: Vec::new(),
            card: Card::Virtio,
            forwards: Vec::new(),
            segment: None,
            reboots: false,
        }
    }

    pub fn firmware(mut self, firmware: Firmware) -> Machine {
        self.firmware = firmware;
        self
    }

    /// In MiB; 256 otherwise.
    pub fn memory(mut self, memory: u32) -> Machine {
        self.memory = memory;
        self
    }

    pub fn card(mut self, card: Card) -> Machine {
        self.card = card;
        self
    }

    /// A second network card, on this segment; machines there have different numbers.
    pub fn segment(mut self, segment: &Segment, number: u8) -> Machine {
        self.segment = Some((segment.network("segment"), number));
        self
    }

    /// Starts this kernel without a boot loader.
    pub fn kernel(mut self, kernel: &Path, initramfs: &Path, line: &str) -> Machine {
        let line = format!("console=ttyS0 panic=5 {line}");
        self.add(&["-kernel", &kernel.to_string_lossy(), "-initrd", &initramfs.to_string_lossy(), "-append", &line]);
        self
    }

    /// The disk it boots from. It is written to: see [`crate::media::overlay`].
    pub fn disk(self, file: &Path, format: &str) -> Machine {
        self.drive(file, format, "system", 1)
    }

    /// Another disk.
    pub fn second_disk(self, file: &Path) -> Machine {
        self.drive(file, "raw", "second", 9)
    }

    fn drive(mut self, file: &Path, format: &str, name: &str, order: u32) -> Machine {
        // What the guest has flushed survives the end of QEMU however it ends: this machine does not lose power.
        let drive = format!("if=none,id={name},format={format},cache=unsafe,file={}", file.display());
        self.add(&["-drive", &drive, "-device", &format!("virtio-blk-pci,drive={name},bootindex={order}")]);
        self
    }

    /// A CD it may boot from when there is no disk, or a seed.
    pub fn cd(mut self, file: &Path) -> Machine {
        let number = self.arguments.iter().filter(|argument| argument.starts_with("ide-cd")).count();
        let drive = format!("if=none,id=cd{number},media=cdrom,readonly=on,format=raw,file={}", file.display());
        let device = format!("ide-cd,bus=ide.{number},drive=cd{number},bootindex={}", 2 + number);
        self.add(&["-drive", &drive, "-device", &device]);
        self
    }

    /// Further arguments for QEMU.
    pub fn with(mut self, arguments: &[&str]) -> Machine {
        self.add(arguments);
        self
    }

    /// It may start again by itself; otherwise that ends it.
    pub fn reboots(mut self) -> Machine {
        self.reboots = true;
        self
    }

    pub fn tcp(self, inside: u16) -> Machine {
        self.forward(inside, false)
    }

    pub fn udp(self, inside: u16) -> Machine {
        self.forward(inside, true)
    }

    fn forward(mut self, inside: u16, udp: bool) -> Machine {
        self.forwards.push(Forward { udp, inside, port: Port::reserve() });
        self
    }

    fn add(&mut self, arguments: &[&str]) {
        self.arguments.extend(arguments.iter().map(|argument| (*argument).to_owned()));
    }

    /// Waits until no other machine runs, and switches this one on.
    #[track_caller]
    pub fn start(self) -> Running {
        self.start_in(&Turn::wait())
    }

    #[track_caller]
    pub fn start_in(self, turn: &Turn) -> Running {
        let mut command = self.command();
        let errors = File::create(self.directory.join("qemu.err")).expect("a file can be made");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors);
        let started = Instant::now();
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        Running { machine: self, child, started, _turn: turn.clone() }
    }

    fn command(&self) -> Command {
        let mut command = Command::new("qemu-system-x86_64");
        let quiet = ["-nodefaults", "-display", "none", "-vga", "none"];
        command.args(["-accel", "tcg", "-cpu", "max", "-m", &self.memory.to_string()]).args(quiet);
        command.arg("-machine").arg(if self.firmware == Firmware::SecureBoot { "q35,smm=on" } else { "q35" });
        command.arg("-serial").arg(format!("file:{}", self.console_file().display()));
        command.arg("-qmp").arg(format!("unix:{},server,nowait", self.directory.join("qmp").display()));
        command.args(["-device", "virtio-rng-pci"]).args(self.firmware_arguments()).args(&self.arguments);
        command.arg("-netdev").arg(self.network()).arg("-device").arg(self.card.device("net"));
        if let Some((network, number)) = &self.segment {
            let mac = format!("52:54:00:fe:1e:{number:02x}");
            command.arg("-netdev").arg(network);
            command.arg("-device").arg(format!("{},mac={mac}", Card::Virtio.device("segment")));
        }
        if !self.reboots {
            command.arg("-no-reboot");
        }
        command
    }

    fn firmware_arguments(&self) -> Vec<String> {
        let (code, variables) = match self.firmware {
            Firmware::Bios => return Vec::new(),
            Firmware::Uefi => ("OVMF_CODE_4M.fd", "OVMF_VARS_4M.fd"),
            Firmware::SecureBoot => ("OVMF_CODE_4M.secboot.fd", "OVMF_VARS_4M.snakeoil.fd"),
        };
        let folder = Path::new("/usr/share/OVMF");
        let own = self.directory.join("variables.fd");
        fs::copy(folder.join(variables), &own).expect("OVMF is installed: apt-get install ovmf");
        let mut arguments = vec![
            "-drive".to_owned(),
            format!("if=pflash,format=raw,readonly=on,file={}", folder.join(code).display()),
            "-drive".to_owned(),
            format!("if=pflash,format=raw,file={}", own.display()),
        ];
        if self.firmware == Firmware::SecureBoot {
            arguments.extend(["-global", "driver=cfi.pflash01,property=secure,value=on"].map(str::to_owned));
        }
        arguments
    }

    fn network(&self) -> String {
        let forwards = self.forwards.iter().map(|forward| {
            let protocol = if forward.udp { "udp" } else { "tcp" };
            format!(",hostfwd={protocol}:{}-:{}", forward.port.address(), forward.inside)
        });
        format!("user,id=net{}", forwards.collect::<String>())
    }

    fn console_file(&self) -> PathBuf {
        self.directory.join("console")
    }
}

impl Card {
    fn device(self, network: &str) -> String {
        let (name, rom) = match self {
            Card::Virtio => ("virtio-net-pci", ",romfile="),
            Card::E1000e => ("e1000e", ",romfile="),
            Card::Vmxnet3 => ("vmxnet3", ",romfile="),
        };
        format!("{name},netdev={network}{rom}")
    }
}

/// A machine that has been switched on. Dropping it cuts its power; a failing test shows its console.
pub struct Running {
    machine: Machine,
    child: Child,
    started: Instant,
    _turn: Turn,
}

impl Running {
    /// Where this machine's port `inside` is reached.
    #[track_caller]
    pub fn at(&self, inside: u16) -> SocketAddr {
        let found = self.machine.forwards.iter().find(|forward| forward.inside == inside);
        found.expect("the port is forwarded").port.address()
    }

    /// Everything it has written to its serial line.
    pub fn console(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.machine.console_file()).unwrap_or_default()).into_owned()
    }

    /// Waits until the console has these words.
    #[track_caller]
    pub fn wait_for_line(&mut self, words: &str, limit: Duration) {
        self.wait(&format!("{words:?} on the console"), limit, |running| running.console().contains(words));
    }

    /// Waits until `path` is answered with `status`; how long that took since it was switched on.
    #[track_caller]
    pub fn wait_for_status(&mut self, path: &str, status: u16, limit: Duration) -> Duration {
        let address = self.at(80);
        self.wait(&format!("{path} answered with {status}"), limit, |_| {
            try_get(address, path).is_ok_and(|(answered, _)| answered == status)
        });
        self.started.elapsed()
    }

    /// Waits for a condition, as long as the machine is on.
    #[track_caller]
    pub fn wait(&mut self, what: &str, limit: Duration, mut condition: impl FnMut(&Running) -> bool) {
        let deadline = Instant::now() + limit;
        while !condition(self) {
            if let Some(status) = self.child.try_wait().expect("a child can be asked for") {
                let words = fs::read_to_string(self.machine.directory.join("qemu.err")).unwrap_or_default();
                panic!("the machine went off ({status}) instead of: {what}\n{words}");
            }
            assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub fn press_power_button(&self) {
        self.buttons().press("system_powerdown");
    }

    /// As its reset button.
    pub fn reset(&self) {
        self.buttons().press("system_reset");
    }

    fn buttons(&self) -> Buttons {
        Buttons::connect(&self.machine.directory.join("qmp"))
    }

    /// Waits until it has switched itself off.
    #[track_caller]
    pub fn wait_for_end(&mut self, limit: Duration) -> ExitStatus {
        eventually_within(limit, "the machine switches itself off", || matches!(self.child.try_wait(), Ok(Some(_))));
        self.child.wait().expect("its status can be read")
    }

    /// Cuts the power. The machine can be started again with the same disks and variables.
    pub fn cut_power(mut self) {
        self.switch_off();
    }

    fn switch_off(&mut self) {
        // It may have gone off by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.switch_off();
        if std::thread::panicking() {
            eprintln!("--- console\n{}\n---", printable(&self.console()));
        }
    }
}

/// The console draws; a log wants lines.
fn printable(console: &str) -> String {
    console.chars().filter(|letter| *letter == '\n' || *letter == '\t' || !letter.is_control()).collect()
}

/// One GET that gives up after two seconds: QEMU takes connections long before the machine listens.
pub fn try_get(address: SocketAddr, path: &str) -> io::Result<(u16, String)> {
    let patience = Duration::from_secs(2);
    let mut stream = TcpStream::connect_timeout(&address, patience)?;
    stream.set_read_timeout(Some(patience))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
    Ok((status.ok_or(io::ErrorKind::InvalidData)?, body.to_owned()))
}
