//! The corpus of hostile requests through Debian's nginx: where it answers as we do, and where its
//! line says that it does not and why.

use std::path::Path;

use fairlead_harness::hostile::{AFTER, Hostile};
use fairlead_harness::{Answer, HttpPeer, Setup};

#[path = "../http/smuggling_setup.rs"]
mod setup;

#[test]
fn the_corpus_says_what_nginx_does() {
    let peer = HttpPeer::start(|_| Answer::ok("served"));
    let nginx = setup::with_files(Setup::nginx()).set("peer", peer.address()).http(setup::HTTP);
    let mut wrong = Vec::new();
    let corpus = Hostile::corpus(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpora/smuggling.tsv"));
    for hostile in &corpus {
        let whole = hostile.bytes.len() + AFTER.len();
        let answers = (hostile.ask(nginx.address(), whole), hostile.ask(nginx.port("port2"), whole));
        let ours = (hostile.proxy.clone(), hostile.files.clone());
        let listed = hostile.nginx.as_ref().unwrap_or(&ours);
        if answers != *listed {
            wrong.push(format!("{}: {answers:?}, listed {listed:?}", hostile.name));
        }
        if hostile.nginx.as_ref() == Some(&ours) {
            wrong.push(format!("{}: listed as different, and is not", hostile.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
