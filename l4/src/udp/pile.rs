//! A batch of a listener's datagrams on its way to the sessions: what is left of
//! it, and which of one client go together.
//!
//! Pure: callers are `requests`, which sends, and nobody else.

use crate::udp::spans::{Run, Span};

#[derive(Default)]
pub(crate) struct Pile {
    /// By place of the batch; nothing where all of it is gone.
    left: Vec<Option<Span>>,
    /// What was gathered last: pieces and the places they are from, and what is left of the last one.
    spans: Vec<Span>,
    places: Vec<usize>,
    rest: Option<Span>,
}

impl Pile {
    pub fn fill(&mut self, spans: impl Iterator<Item = Option<Span>>) {
        self.left.clear();
        self.left.extend(spans);
    }

    pub fn left(&self, place: usize) -> Option<Span> {
        self.left.get(place).copied().flatten()
    }

    /// Begins at `first` and goes on with what is behind it for which `joins` says so. It stays until
    /// it is removed.
    pub fn gather(&mut self, first: usize, mut run: Run, joins: impl Fn(usize) -> bool) -> Run {
        self.spans.clear();
        self.places.clear();
        for (place, span) in self.left.iter().enumerate().skip(first) {
            let Some(span) = span.filter(|_| place == first || joins(place)) else { continue };
            let (head, rest) = run.take(span);
            // What cannot go along must not be overtaken.
            let Some(head) = head else { break };
            self.spans.push(head);
            self.places.push(place);
            self.rest = rest;
            if !run.is_open() {
                break;
            }
        }
        run
    }

    /// What was gathered.
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// What was gathered is gone.
    pub fn remove(&mut self) {
        for place in &self.places {
            if let Some(left) = self.left.get_mut(*place) {
                *left = None;
            }
        }
        if let Some(left) = self.places.last().and_then(|last| self.left.get_mut(*last)) {
            *left = self.rest;
        }
    }

    /// Takes the first datagram of a place alone.
    pub fn remove_one(&mut self, place: usize) -> Option<Span> {
        let left = self.left.get_mut(place)?;
        let (one, rest) = left.take()?.split(1);
        *left = rest;
        Some(one)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::udp::spans::tests::{Random, messages};

    /// Sends a batch of a few clients, some of it refused at first, and gives what each peer got.
    fn play(random: &mut Random, senders: &[usize], messages: &[Span]) -> Vec<Vec<usize>> {
        let mut got = vec![Vec::new(); 4];
        let mut pile = Pile::default();
        pile.fill(messages.iter().map(|span| Some(*span)));
        for first in 0..messages.len() {
            let mut alone = false;
            while pile.left(first).is_some() {
                let run = Run::new(random.pick(&[0, 100, 1472]), random.pick(&[1, 3, usize::MAX]));
                let run = pile.gather(first, run, |place| senders[place] == senders[first]);
                let sent: Vec<Span> = match run.count() {
                    1 => pile.remove_one(first).into_iter().collect(),
                    _ if alone => pile.remove_one(first).into_iter().collect(),
                    _ if random.pick(&[0, 1, 2]) == 0 => {
                        alone = true;
                        continue;
                    }
                    _ => {
                        let spans = pile.spans().to_vec();
                        pile.remove();
                        spans
                    }
                };
                alone = false;
                got[senders[first]].extend(sent.iter().flat_map(|span| span.datagrams()).map(|one| one.start));
            }
        }
        got
    }

    #[test]
    fn each_client_gets_all_of_its_datagrams_through_in_order() {
        for seed in 1..=256 {
            let mut random = Random::new(seed);
            let mut messages = messages(&mut random);
            // An empty datagram has no place of its own by which to know it.
            messages.retain(|span| span.length > 0);
            let senders: Vec<usize> = messages.iter().map(|_| random.pick(&[0, 0, 1, 2, 3])).collect();
            let mut wanted = vec![Vec::new(); 4];
            for (message, sender) in messages.iter().zip(&senders) {
                wanted[*sender].extend(message.datagrams().map(|one| one.start));
            }
            assert_eq!(play(&mut random, &senders, &messages), wanted, "seed {seed}");
        }
    }
}
