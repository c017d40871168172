//! Pseudo-random transfers: whatever the chunks, the pauses and the order of the ends, every byte
//! arrives once and in order, the counts agree, and every pipe comes back.

use super::{MINUTE, pattern, run};
use crate::dice::Dice;
use crate::net::{End, Limits, Stream, Tunnel};
use crate::worker::Scratch;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;

struct Random(Dice);

impl Random {
    fn new(seed: u64) -> Random {
        Random(Dice::new(seed))
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0.roll(bound as u64) as usize
    }

    /// Sometimes a moment in which others run, seldom one in which time passes.
    async fn hesitate(&mut self) {
        match self.below(64) {
            0 => tokio::time::sleep(Duration::from_millis(1)).await,
            1..20 => tokio::task::yield_now().await,
            _ => {}
        }
    }
}

/// Small exchanges, streams, and both in turn.
fn chunk(random: &mut Random) -> usize {
    match random.below(4) {
        0 => 1 + random.below(100),
        1 => 1 + random.below(20_000),
        _ => 1 + random.below(400_000),
    }
}

async fn send(mut to: impl AsyncWrite + Unpin, bytes: &[u8], mut random: Random) {
    let mut rest = bytes;
    while !rest.is_empty() {
        let (now, later) = rest.split_at(chunk(&mut random).min(rest.len()));
        to.write_all(now).await.unwrap();
        rest = later;
        random.hesitate().await;
    }
    to.shutdown().await.unwrap();
}

async fn receive(mut from: impl AsyncRead + Unpin, mut random: Random) -> Vec<u8> {
    let (mut all, mut buffer) = (Vec::new(), vec![0; 400_000]);
    loop {
        let size = chunk(&mut random);
        match from.read(&mut buffer[..size]).await.unwrap() {
            0 => return all,
            count => all.extend_from_slice(&buffer[..count]),
        }
        random.hesitate().await;
    }
}

fn length(random: &mut Random) -> usize {
    match random.below(3) {
        0 => random.below(2000),
        1 => random.below(200_000),
        _ => random.below(3_000_000),
    }
}

/// One relay over sockets of either kind; the buffer decides when it streams.
async fn transfer<A, B>(seed: u64, (client, near): (A, Stream), (peer, far): (B, Stream), scratch: &Scratch)
where
    A: AsyncRead + AsyncWrite,
    B: AsyncRead + AsyncWrite,
{
    let mut random = Random::new(seed);
    let (up, down) = (pattern(length(&mut random), seed as u32), pattern(length(&mut random), !seed as u32));
    let early = random.below(2) * random.below(up.len().max(1));
    let limits = Limits { buffer: [1 << 10, 16 << 10, 64 << 10][random.below(3)], ..Limits::default() };
    let tunnel = Tunnel {
        client: &near,
        peer: &far,
        scratch,
        idle: MINUTE,
        half_close: true,
        limits,
        to_peer: up[..early].to_vec(),
        to_client: Vec::new(),
    };
    let (client_reads, client_writes) = tokio::io::split(client);
    let (peer_reads, peer_writes) = tokio::io::split(peer);
    let (relayed, (), (), got_up, got_down) = tokio::join!(
        tunnel.run(),
        send(client_writes, &up[early..], Random::new(seed + 1)),
        send(peer_writes, &down, Random::new(seed + 2)),
        receive(peer_reads, Random::new(seed + 3)),
        receive(client_reads, Random::new(seed + 4)),
    );
    assert!(got_up == up, "seed {seed}: {} of {} bytes arrived at the peer", got_up.len(), up.len());
    assert!(got_down == down, "seed {seed}: {} of {} bytes arrived at the client", got_down.len(), down.len());
    let counts = (relayed.to_peer, relayed.to_client, relayed.from_client, relayed.from_peer);
    let sizes = (up.len() as u64, down.len() as u64, (up.len() - early) as u64, down.len() as u64);
    assert_eq!(counts, sizes, "seed {seed}");
    assert!(matches!(relayed.end, End::Closed(_)), "seed {seed}: {:?}", relayed.end);
    assert_eq!(scratch.pipes.in_use(), 0, "seed {seed}: a pipe did not come back");
}

fn unix() -> (UnixStream, Stream) {
    let (outside, inside) = UnixStream::pair().unwrap();
    (outside, Stream::adopt(inside.into_std().unwrap().into()).unwrap())
}

#[test]
fn every_byte_arrives_once_whatever_the_chunks() {
    run(async {
        let scratch = Scratch::default();
        for seed in 0..256 {
            let (client, peer) = tokio::join!(super::pair(), super::pair());
            match seed % 4 {
                0 => transfer(seed, unix(), unix(), &scratch).await,
                1 => transfer(seed, unix(), peer, &scratch).await,
                _ => transfer(seed, client, peer, &scratch).await,
            }
        }
        assert!(scratch.pipes.opened() > 0, "nothing streamed");
    });
}

#[test]
fn without_pipes_everything_is_copied() {
    run(async {
        let scratch = Scratch::default();
        scratch.pipes.forbid();
        for seed in 256..288 {
            let (client, peer) = tokio::join!(super::pair(), super::pair());
            transfer(seed, client, peer, &scratch).await;
        }
        assert_eq!(scratch.pipes.opened(), 0);
    });
}
