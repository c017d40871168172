//! Who made an image: a detached ed25519 signature (RFC 8032) over the bytes of the file, 64 bytes in `NAME.efi.sig`.
//! `openssl pkeyutl -verify -rawin` reads it too. No key is generated here: 32 random bytes are one.

use std::io::Read;

use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey, EncodePrivateKey, KeypairBytes};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

use crate::Fault;

pub const SIGNATURE_BYTES: usize = 64;

/// The half that is kept secret.
pub struct PrivateKey(SigningKey);

impl PrivateKey {
    /// From 32 bytes of good randomness.
    pub fn from_seed(seed: &[u8; 32]) -> PrivateKey {
        PrivateKey(SigningKey::from_bytes(seed))
    }

    /// As `openssl genpkey -algorithm ed25519` writes one (PKCS #8 in PEM).
    pub fn from_pem(pem: &str) -> Result<PrivateKey, Fault> {
        let key = SigningKey::from_pkcs8_pem(pem);
        key.map(PrivateKey).map_err(|error| Fault::Format(format!("not an ed25519 private key: {error}")))
    }

    pub fn to_pem(&self) -> Result<String, Fault> {
        // Without the public half, which OpenSSL 3.0 does not expect in such a file.
        let key = KeypairBytes { secret_key: self.0.to_bytes(), public_key: None };
        let pem = key.to_pkcs8_pem(LineEnding::LF).map(|pem| pem.to_string());
        pem.map_err(|error| Fault::Format(format!("the key cannot be written: {error}")))
    }

    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    pub fn sign(&self, image: &[u8]) -> [u8; SIGNATURE_BYTES] {
        self.0.sign(image).to_bytes()
    }
}

/// The half that appliances hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// From 64 hexadecimal digits.
    pub fn from_hex(digits: &str) -> Result<PublicKey, Fault> {
        let key = hex(digits).and_then(|bytes| VerifyingKey::from_bytes(&bytes).ok()).filter(|key| !key.is_weak());
        key.map(PublicKey).ok_or_else(|| Fault::Format(format!("not an ed25519 public key: {digits:?}")))
    }

    /// As `/etc/update.pub` has them: a key a line, then a comment or nothing; `#` begins a line of comment.
    pub fn list(text: &str) -> Result<Vec<PublicKey>, Fault> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        lines.map(|line| PublicKey::from_hex(line.split_whitespace().next().unwrap_or_default())).collect()
    }

    pub fn to_hex(self) -> String {
        self.0.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The key among `keys` that signed what `image` reads, to its end. Takes the image in small pieces: it need not fit in
/// memory. Nothing of the image may be used before this says yes.
pub fn verify(image: &mut impl Read, signature: &[u8], keys: &[PublicKey]) -> Result<PublicKey, Fault> {
    let signature =
        Signature::from_slice(signature).map_err(|_| Fault::format("the signature is not 64 bytes long"))?;
    let streams = keys.iter().map(|key| Ok((*key, key.0.verify_stream(&signature)?)));
    let streams: Result<Vec<_>, ed25519_dalek::SignatureError> = streams.collect();
    let mut streams = streams.map_err(|_| Fault::format("the signature is damaged"))?;
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = image.read(&mut buffer)?;
        let piece = buffer.get(..read).unwrap_or_default();
        if piece.is_empty() {
            break;
        }
        streams.iter_mut().for_each(|(_, stream)| stream.update(piece));
    }
    let signer = streams.into_iter().find_map(|(key, stream)| stream.finalize_and_verify().is_ok().then_some(key));
    signer.ok_or_else(|| Fault::format("the image is signed by none of the keys that may update this appliance"))
}

fn hex(digits: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if digits.len() != 64 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (place, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(place * 2..place * 2 + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8) -> PrivateKey {
        PrivateKey::from_seed(&[seed; 32])
    }

    #[test]
    fn finds_the_key_that_signed() {
        let image = vec![7; 200_000];
        let signature = key(1).sign(&image);
        let keys = [key(2).public(), key(1).public()];
        assert_eq!(verify(&mut &image[..], &signature, &keys).unwrap(), keys[1]);
        assert!(verify(&mut &image[..], &signature, &keys[..1]).is_err());
        assert!(verify(&mut &image[..], &signature, &[]).is_err());
    }

    #[test]
    fn refuses_what_was_changed() {
        let image = vec![7; 200_000];
        let (signature, keys) = (key(1).sign(&image), [key(1).public()]);
        assert!(verify(&mut &image[1..], &signature, &keys).is_err());
        let mut changed = image.clone();
        changed[100_000] ^= 1;
        assert!(verify(&mut &changed[..], &signature, &keys).is_err());
        for bit in 0..SIGNATURE_BYTES * 8 {
            let mut damaged = signature;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(verify(&mut &image[..100], &damaged, &keys).is_err(), "bit {bit}");
        }
        assert!(verify(&mut &image[..], &signature[1..], &keys).is_err());
    }

    #[test]
    fn agrees_with_rfc_8032() {
        let public = PublicKey::from_hex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a").unwrap();
        let seed = hex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60").unwrap();
        let private = PrivateKey::from_seed(&seed);
        assert_eq!(private.public(), public);
        assert!(private.sign(b"").starts_with(&[0xe5, 0x56, 0x43, 0x00, 0xc3, 0x60, 0xac, 0x72]));
    }

    #[test]
    fn keys_are_written_as_openssl_writes_them() {
        let seed = hex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60").unwrap();
        let pem = "-----BEGIN PRIVATE KEY-----\n\
                   MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n\
                   -----END PRIVATE KEY-----\n";
        assert_eq!(PrivateKey::from_seed(&seed).to_pem().unwrap(), pem);
    }

    #[test]
    fn keys_survive_being_written() {
        let pem = key(3).to_pem().unwrap();
        assert_eq!(PrivateKey::from_pem(&pem).unwrap().public(), key(3).public());
        let text = format!("# who may update\n\n{} the build machine\n", key(3).public().to_hex());
        assert_eq!(PublicKey::list(&text).unwrap(), [key(3).public()]);
        assert!(PublicKey::list("abc").is_err());
    }
}
