//! Which datagrams go to the kernel as one message: it takes several of one size,
//! the last at most as long, and cuts them apart only where it must
//! (`UDP_SEGMENT`). They come so, too (`UDP_GRO`).
//!
//! Pure: knows where bytes lie, not what they are. Nothing is ever reordered.
//! Callers: `requests` and `replies`.

/// Longest datagram that goes along with others: what fits into an Ethernet packet of IPv4.
pub(crate) const LONGEST_SEGMENT: usize = 1472;

/// Bytes of one message: a little less than the longest IPv4 packet.
const LONGEST_RUN: usize = 65_000;

/// Datagrams of one message that every kernel takes.
const MOST_SEGMENTS: usize = 64;

/// Datagrams that lie one behind another: all as long as the first, the last at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub start: usize,
    pub length: usize,
    /// Bytes of the first.
    pub segment: usize,
}

impl Span {
    pub fn new(start: usize, length: usize, segment: Option<usize>) -> Span {
        Span { start, length, segment: segment.map_or(length, |segment| segment.min(length)) }
    }

    /// How many there are; an empty datagram is one too.
    pub fn count(&self) -> usize {
        if self.segment == 0 { 1 } else { self.length.div_ceil(self.segment) }
    }

    /// The first `count` datagrams, at least one, and those behind them.
    pub fn split(&self, count: usize) -> (Span, Option<Span>) {
        let bytes = self.segment.saturating_mul(count.max(1));
        if bytes >= self.length || bytes == 0 {
            return (*self, None);
        }
        let rest = Span::new(self.start + bytes, self.length - bytes, Some(self.segment));
        (Span::new(self.start, bytes, Some(self.segment)), Some(rest))
    }

    pub fn datagrams(self) -> impl Iterator<Item = Span> {
        let mut left = Some(self);
        std::iter::from_fn(move || {
            let (first, rest) = left.take()?.split(1);
            left = rest;
            Some(first)
        })
    }
}

/// A message that grows while datagrams fit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    segment: usize,
    bytes: usize,
    count: usize,
    /// How many more may follow, as far as their number goes.
    room: usize,
    longest: usize,
}

impl Run {
    /// A datagram that goes alone.
    pub const ONE: Run = Run { segment: 0, bytes: 0, count: 0, room: 1, longest: 0 };

    /// `longest`: bytes of a datagram that may go along with others. `most`: datagrams, at least one.
    pub fn new(longest: usize, most: usize) -> Run {
        Run { segment: 0, bytes: 0, count: 0, room: most.clamp(1, MOST_SEGMENTS), longest }
    }

    /// One datagram alone.
    pub fn of(span: Span) -> Run {
        let mut run = Run::ONE;
        run.take(span);
        run
    }

    pub fn count(&self) -> usize {
        self.count
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// More may go along.
    pub fn is_open(&self) -> bool {
        self.room > 0
    }

    /// What the kernel has to be told to cut it apart; nothing when there is nothing to cut.
    pub fn segment(&self) -> Option<u16> {
        u16::try_from(self.segment).ok().filter(|_| self.count > 1)
    }

    /// Takes of `span` what goes along, and gives that and what is left. Something always goes as the
    /// first; once something is left nothing more goes along.
    pub fn take(&mut self, span: Span) -> (Option<Span>, Option<Span>) {
        let bytes = LONGEST_RUN.saturating_sub(self.bytes);
        // In bytes: all of it, or as many whole ones as there is room for.
        let fit = if span.length <= bytes { usize::MAX } else { bytes / span.segment.max(1) };
        let fits = match self.count {
            0 => {
                self.segment = span.segment;
                if !(1..=self.longest).contains(&span.segment) {
                    self.room = 1;
                }
                self.room.min(fit.max(1))
            }
            _ if !(1..=self.segment).contains(&span.segment) => 0,
            // A shorter one is the last.
            _ if span.segment < self.segment => self.room.min(fit).min(1),
            _ => self.room.min(fit),
        };
        if fits == 0 {
            self.room = 0;
            return (None, Some(span));
        }
        let (head, rest) = span.split(fits);
        self.bytes += head.length;
        self.count += head.count();
        // Behind a shorter one nothing may follow.
        let whole = head.length == self.segment * head.count();
        self.room = if whole && rest.is_none() { self.room - head.count().min(self.room) } else { 0 };
        (Some(head), rest)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// xorshift64*: the same seed replays the same day.
    pub(crate) struct Random(u64);

    impl Random {
        pub fn new(seed: u64) -> Random {
            Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
        }

        fn below(&mut self, bound: usize) -> usize {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
        }

        pub fn pick(&mut self, of: &[usize]) -> usize {
            of[self.below(of.len())]
        }
    }

    /// Messages as a socket gives them: single datagrams and runs, some of them equal.
    pub(crate) fn messages(random: &mut Random) -> Vec<Span> {
        let mut start = 0;
        let received = (0..1 + random.below(12)).map(|_| {
            let segment = random.pick(&[0, 1, 100, 100, 100, 1200, 1200, 1472, 1473, 9000]);
            let most = 65_507_usize.checked_div(segment).map_or(1, |most| most.min(128));
            let whole = random.pick(&[1, 1, 2, 16, 64, 128]).min(most);
            let cut = if segment > 0 && random.below(3) == 0 { random.below(segment) } else { 0 };
            let span = Span::new(start, segment * whole - cut, (whole > 1).then_some(segment));
            start += span.length;
            span
        });
        received.collect()
    }

    /// Cuts messages into runs as both directions do.
    fn runs(messages: &[Span], longest: usize, random: &mut Random) -> Vec<(Run, usize, Vec<Span>)> {
        let mut runs: Vec<(Run, usize, Vec<Span>)> = Vec::new();
        for message in messages {
            let mut left = Some(*message);
            while let Some(span) = left {
                if let Some((run, _, spans)) = runs.last_mut() {
                    let (head, rest) = run.take(span);
                    spans.extend(head);
                    left = rest;
                    if head.is_some() {
                        continue;
                    }
                }
                let most = random.pick(&[1, 3, 16, usize::MAX, usize::MAX, usize::MAX]);
                runs.push((Run::new(longest, most), most, Vec::new()));
            }
        }
        runs
    }

    fn lengths(spans: &[Span]) -> Vec<(usize, usize)> {
        spans.iter().flat_map(|span| span.datagrams()).map(|one| (one.start, one.length)).collect()
    }

    /// What the kernel takes as one message, said in the plainest way.
    fn is_allowed(datagrams: &[(usize, usize)], longest: usize, most: usize) -> bool {
        let lengths: Vec<usize> = datagrams.iter().map(|(_, length)| *length).collect();
        let [first, middle @ .., last] = &lengths[..] else { return lengths.len() == 1 };
        middle.iter().all(|length| length == first)
            && (1..=*first).contains(last)
            && *first <= longest
            && lengths.len() <= most.min(64)
            && lengths.iter().sum::<usize>() <= 65_000
    }

    #[test]
    fn runs_are_what_goes_one_by_one_in_as_few_messages_as_may_be() {
        for seed in 1..=256_u64 {
            let mut random = Random::new(seed);
            for _ in 0..20 {
                let messages = messages(&mut random);
                let longest = random.pick(&[0, 99, 100, 1200, 1472]);
                let runs = runs(&messages, longest, &mut random);
                let all: Vec<Span> = runs.iter().flat_map(|(_, _, spans)| spans.clone()).collect();
                assert_eq!(lengths(&all), lengths(&messages), "seed {seed}: {messages:?}");
                for (at, (run, most, spans)) in runs.iter().enumerate() {
                    let datagrams = lengths(spans);
                    assert!(is_allowed(&datagrams, longest, *most), "seed {seed}: {spans:?} of {most}, {longest}");
                    assert_eq!((run.count(), run.bytes()), (datagrams.len(), datagrams.iter().map(|one| one.1).sum()));
                    assert_eq!(run.segment(), (datagrams.len() > 1).then_some(datagrams[0].1 as u16));
                    if let Some((_, _, next)) = runs.get(at + 1) {
                        let longer = [&datagrams[..], &lengths(next)[..1]].concat();
                        assert!(
                            !is_allowed(&longer, longest, *most),
                            "seed {seed}: {spans:?} could go on with {next:?}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn a_run_splits_between_datagrams() {
        let span = Span::new(10, 25, Some(10));
        assert_eq!(span.count(), 3);
        assert_eq!(span.split(2), (Span::new(10, 20, Some(10)), Some(Span::new(30, 5, None))));
        assert_eq!((span.split(3), span.split(0).0), ((span, None), Span::new(10, 10, None)));
        assert_eq!(Span::new(0, 0, None).datagrams().count(), 1, "an empty datagram is one");
    }
}
