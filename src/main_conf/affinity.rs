//! `worker_cpu_affinity`: which processors a worker thread may use.

use fairlead_conf::{Diagnostic, Given};

/// Highest processor a mask can name, as `sched_setaffinity`'s usual set can.
const MAX_CPUS: usize = 1024;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Affinity {
    None,
    /// Processors of each worker; the last one is for all that follow.
    Masks(Vec<Vec<usize>>),
    /// One processor per worker, out of these (out of all when empty).
    Auto(Vec<usize>),
}

impl Affinity {
    /// The processors of worker thread `number`; `None` leaves it to the kernel.
    /// `usable` are those the process may use.
    pub fn cpus(&self, number: usize, usable: &[usize]) -> Option<Vec<usize>> {
        match self {
            Affinity::None => None,
            Affinity::Masks(masks) => masks.get(number).or(masks.last()).cloned(),
            Affinity::Auto(chosen) => {
                let allowed: Vec<usize> =
                    usable.iter().copied().filter(|cpu| chosen.is_empty() || chosen.contains(cpu)).collect();
                let cpu = *allowed.get(number.checked_rem(allowed.len())?)?;
                Some(vec![cpu])
            }
        }
    }
}

pub fn parse(given: &Given<'_>) -> Result<Affinity, Diagnostic> {
    if given.text(0) != "auto" {
        return (0..given.len()).map(|index| mask(given, index)).collect::<Result<_, _>>().map(Affinity::Masks);
    }
    match given.len() {
        1 => Ok(Affinity::Auto(Vec::new())),
        2 => mask(given, 1).map(Affinity::Auto),
        _ => Err(given.error(2, "invalid number of arguments in \"worker_cpu_affinity\"").help("auto [cpumask]")),
    }
}

fn mask(given: &Given<'_>, index: usize) -> Result<Vec<usize>, Diagnostic> {
    let text = given.text(index);
    cpus_of(text).ok_or_else(|| {
        given
            .error(index, format!("invalid mask \"{text}\" in \"worker_cpu_affinity\""))
            .help("a row of 0 and 1 such as 0101, the rightmost for processor 0, with one 1 at least")
    })
}

fn cpus_of(mask: &str) -> Option<Vec<usize>> {
    if mask.len() > MAX_CPUS || !mask.bytes().all(|byte| matches!(byte, b'0' | b'1')) {
        return None;
    }
    let cpus: Vec<usize> = mask.bytes().rev().enumerate().filter(|(_, bit)| *bit == b'1').map(|(cpu, _)| cpu).collect();
    (!cpus.is_empty()).then_some(cpus)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rightmost_digit_is_processor_0() {
        assert_eq!(cpus_of("0101"), Some(vec![0, 2]));
        assert_eq!(cpus_of("1000"), Some(vec![3]));
        for wrong in ["", "0000", "012", "auto", &"1".repeat(MAX_CPUS + 1)] {
            assert_eq!(cpus_of(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_last_mask_is_for_all_that_follow() {
        let masks = Affinity::Masks(vec![vec![0], vec![1, 2]]);
        assert_eq!(masks.cpus(0, &[]), Some(vec![0]));
        assert_eq!(masks.cpus(5, &[]), Some(vec![1, 2]));
    }

    #[test]
    fn auto_goes_round_the_usable_processors() {
        let auto = Affinity::Auto(Vec::new());
        assert_eq!(auto.cpus(3, &[4, 6]), Some(vec![6]));
        assert_eq!(auto.cpus(3, &[]), None);
        assert_eq!(Affinity::Auto(vec![6]).cpus(0, &[4, 6]), Some(vec![6]));
    }
}
