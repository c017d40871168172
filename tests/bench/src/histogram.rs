//! Counts of durations in log-linear buckets: 32 to each power of two, so a percentile is read within 3 %.
//!
//! Recording is an index and an increment, since it happens once per operation of the load.

use std::time::Duration;

const BITS: u32 = 5;
const LINEAR: u64 = 1 << BITS;
const BUCKETS: usize = ((64 - BITS as usize) << BITS) + LINEAR as usize;

pub struct Histogram {
    counts: Vec<u32>,
    total: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram { counts: vec![0; BUCKETS], total: 0 }
    }
}

impl Histogram {
    pub fn record(&mut self, took: Duration) {
        self.counts[bucket(took.as_nanos() as u64)] += 1;
        self.total += 1;
    }

    pub fn add(&mut self, other: &Histogram) {
        self.total += other.total;
        self.counts.iter_mut().zip(&other.counts).for_each(|(mine, theirs)| *mine += theirs);
    }

    /// The duration under which `share` (0..=1) of the recorded ones lie; `None` of an empty histogram.
    pub fn percentile(&self, share: f64) -> Option<Duration> {
        let rank = (self.total as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        let found = self.counts.iter().position(|&count| {
            seen += u64::from(count);
            seen >= rank
        })?;
        Some(Duration::from_nanos(middle(found)))
    }
}

fn bucket(nanos: u64) -> usize {
    if nanos < LINEAR {
        return nanos as usize;
    }
    let shift = 63 - nanos.leading_zeros() - BITS;
    ((u64::from(shift) << BITS) + (nanos >> shift)) as usize
}

fn middle(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < 2 * LINEAR {
        return bucket;
    }
    let shift = (bucket >> BITS) - 1;
    let low = (LINEAR + (bucket & (LINEAR - 1))) << shift;
    low + (1 << shift) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duration_falls_in_a_bucket_within_3_percent_of_it() {
        for power in 0..63 {
            for offset in [0, 1, 7, (1u64 << power) / 3] {
                let nanos = (1u64 << power) + offset.min((1 << power) - 1);
                let found = middle(bucket(nanos)) as f64;
                assert!((found - nanos as f64).abs() <= nanos as f64 * 0.032, "{nanos} was read as {found}");
            }
        }
    }

    #[test]
    fn percentiles_are_ranks() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.percentile(0.5), None);
        (1..=100).for_each(|micros| histogram.record(Duration::from_micros(micros)));
        let near = |share: f64, micros: f64| {
            let found = histogram.percentile(share).map(|it| it.as_nanos() as f64 / 1000.0);
            assert!(found.is_some_and(|it| (it / micros - 1.0).abs() < 0.04), "{share}: {found:?}, not {micros}");
        };
        near(0.5, 50.0);
        near(0.99, 99.0);
    }
}
