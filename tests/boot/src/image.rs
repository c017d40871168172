//! The image under test, as its builder makes it: once for all tests of a run, in the target folder.
//!
//! It is signed twice: for Secure Boot with the key that Debian's OVMF trusts in tests, and for updates with a key of
//! this run. `FAIRLEAD_IMAGE=FOLDER` takes images that are there already, `FAIRLEAD_IMAGE_PROGRAMS=FOLDER` static programs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use fairlead_image::cli::Build;
use fairlead_image::format::Format;
use fairlead_image::unified::SecureBoot;
use fairlead_image::{Kind, build, key};

use crate::media::run;

/// A private key that proves nothing: its certificate is the one in `OVMF_VARS_4M.snakeoil.fd`.
const SNAKEOIL: &str = "/usr/share/ovmf/PkKek-1-snakeoil";

const FIRST: &str = "0.1.0-1001";
const SECOND: &str = "0.1.0-1002";

/// The files of one build.
#[derive(Clone, Debug)]
pub struct Image {
    folder: PathBuf,
    version: &'static str,
}

static UNIVERSAL: LazyLock<Image> = LazyLock::new(|| {
    let formats = vec![Format::Raw, Format::Qcow2, Format::Iso, Format::Files];
    Image::made(FIRST, formats)
});
static NEWER: LazyLock<Image> = LazyLock::new(|| Image::made(SECOND, Vec::new()));

impl Image {
    pub fn universal() -> &'static Image {
        &UNIVERSAL
    }

    /// What the universal image is updated to: the unified image alone (`efi`), and its signature.
    pub fn newer() -> &'static Image {
        &NEWER
    }

    fn made(version: &'static str, formats: Vec<Format>) -> Image {
        if let Some(folder) = std::env::var_os("FAIRLEAD_IMAGE") {
            return Image { folder: folder.into(), version };
        }
        let folder = folder();
        let keys = folder.join("keys");
        fs::create_dir_all(&keys).expect("a folder can be made");
        let update_key = keys.join("update");
        if !update_key.exists() {
            key::generate(&update_key).expect("a key can be made");
        }
        let options = Build {
            kinds: vec![Kind::Universal],
            out: Some(folder.clone()),
            formats,
            key: Some(update_key),
            secure_boot: Some(snakeoil(&keys)),
            version: Some(version.parse().expect("a version")),
            programs: std::env::var_os("FAIRLEAD_IMAGE_PROGRAMS").map(PathBuf::from),
            ..Build::default()
        };
        build::all(&options).unwrap_or_else(|fault| panic!("the image is not built: {fault}"));
        Image { folder, version }
    }

    /// The file of this build with this ending.
    #[track_caller]
    pub fn file(&self, ending: &str) -> PathBuf {
        let path = self.folder.join(format!("fairlead-universal-{}.{ending}", self.version));
        assert!(path.exists(), "{} is not there", path.display());
        path
    }

    pub fn version(&self) -> &str {
        self.version
    }
}

fn folder() -> PathBuf {
    target().join("boot-image")
}

fn target() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from)
}

fn snakeoil(keys: &Path) -> SecureBoot {
    let key = keys.join("snakeoil.key");
    let mut openssl = Command::new("openssl");
    openssl.args(["rsa", "-passin", "pass:snakeoil", "-in", &format!("{SNAKEOIL}.key"), "-out"]).arg(&key);
    run(&mut openssl);
    SecureBoot { key, certificate: format!("{SNAKEOIL}.pem").into() }
}
