//! What `fairlead-image` does, in the order of a build: [`package`] fetches and checks what comes from Debian, [`deb`]
//! unpacks it, [`module`] chooses drivers, [`program`] builds ours, [`initramfs`] packs both, [`unified`] makes and signs
//! the image, [`disk`] the disk around it, [`format`] and [`iso`] its other forms, [`papers`] what licences ask for.

pub mod build;
pub mod cli;
pub mod deb;
pub mod disk;
pub mod format;
pub mod initramfs;
pub mod iso;
pub mod key;
pub mod module;
pub mod output;
pub mod package;
pub mod papers;
pub mod program;
pub mod progress;
pub mod run;
pub mod tool;
pub mod unified;

/// Why a build ended: one sentence, with what to do where there is something to do.
pub type Fault = Box<dyn std::error::Error>;

/// Which image: they differ in their kernel and in how many drivers they have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Virtual machines and hardware.
    Universal,
    /// Virtual machines of clouds.
    Tiny,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Universal => "universal",
            Kind::Tiny => "tiny",
        }
    }

    fn kernel_package(self) -> &'static str {
        match self {
            Kind::Universal => "linux-image-6.12.117+deb12-amd64",
            Kind::Tiny => "linux-image-6.12.117+deb12-cloud-amd64",
        }
    }
}
