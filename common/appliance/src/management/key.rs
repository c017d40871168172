//! A private key of the management, on either side: ed25519, PKCS #8 in PEM, as `openssl` reads it.

use super::Fingerprint;
use aws_lc_rs::signature::Ed25519KeyPair;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SigningKey};
use std::sync::Arc;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a private key: {0}")]
pub struct BadKey(String);

#[derive(Clone, Debug)]
pub struct Key {
    signer: Arc<dyn SigningKey>,
    /// SubjectPublicKeyInfo, DER.
    public: Vec<u8>,
}

impl Key {
    /// A new one, as the text of its file.
    pub fn generate() -> Result<String, BadKey> {
        let pair = Ed25519KeyPair::generate().map_err(|_| BadKey("no randomness".to_owned()))?;
        let der = pair.to_pkcs8v1().map_err(|_| BadKey("it cannot be written".to_owned()))?;
        let body = BASE64.encode(der.as_ref());
        let lines = body.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into_owned() + "\n");
        Ok(format!("-----BEGIN PRIVATE KEY-----\n{}-----END PRIVATE KEY-----\n", lines.collect::<String>()))
    }

    pub fn from_pem(pem: &[u8]) -> Result<Key, BadKey> {
        let der = PrivateKeyDer::from_pem_slice(pem).map_err(|error| BadKey(error.to_string()))?;
        let signer = any_supported_type(&der).map_err(|error| BadKey(error.to_string()))?;
        let public = signer.public_key().ok_or_else(|| BadKey("its public half is unknown".to_owned()))?;
        Ok(Key { public: public.as_ref().to_vec(), signer })
    }

    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.public)
    }

    /// As rustls wants a raw public key: in the place of a certificate.
    pub(super) fn certified(&self) -> Arc<CertifiedKey> {
        Arc::new(CertifiedKey::new(vec![CertificateDer::from(self.public.clone())], self.signer.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_was_written() {
        let pem = Key::generate().unwrap();
        let (one, again) = (Key::from_pem(pem.as_bytes()).unwrap(), Key::from_pem(pem.as_bytes()).unwrap());
        assert_eq!(one.fingerprint(), again.fingerprint());
        let other = Key::from_pem(Key::generate().unwrap().as_bytes()).unwrap();
        assert_ne!(one.fingerprint(), other.fingerprint());
        assert!(pem.lines().all(|line| line.len() <= 64), "{pem}");
        for bad in ["", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", &pem[..80]] {
            assert!(Key::from_pem(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
