//! One check of one peer: when to probe next, and what the outcomes mean.
//!
//! Pure: time, outcomes and the seed of its randomness come in. No sockets, no
//! clock, no log; [`super::prober`] owns those.

use crate::clock::Tick;
use crate::dice::Dice;
use crate::upstream::Availability;
use std::time::Duration;

/// What `health_check` says about time and counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rules {
    pub interval: Duration,
    pub jitter: Duration,
    pub fails: u32,
    pub passes: u32,
    pub mandatory: bool,
    pub persistent: bool,
}

#[derive(Debug)]
pub(super) struct Machine {
    rules: Rules,
    health: Availability,
    /// Outcomes of one kind in a row, the latest included.
    run: Run,
    due: Tick,
    dice: Dice,
}

#[derive(Clone, Copy, Debug)]
enum Run {
    Passed(u32),
    Failed(u32),
}

impl Machine {
    /// The first probe is due at a random time within `spread`, so that a large group is not
    /// probed all at once, now and ever after.
    pub(super) fn new(rules: Rules, now: Tick, spread: Duration, seed: u64) -> Machine {
        let health = if rules.mandatory { Availability::Checking } else { Availability::Up };
        let mut machine = Machine { rules, health, run: Run::Passed(0), due: now, dice: Dice::new(seed) };
        machine.due = now.after(machine.below(spread));
        machine
    }

    /// When to probe next.
    pub(super) fn due(&self) -> Tick {
        self.due
    }

    pub(super) fn health(&self) -> Availability {
        self.health
    }

    /// Takes the outcome of a probe that is over; gives what the peer has become.
    pub(super) fn probed(&mut self, now: Tick, passed: bool) -> Option<Availability> {
        self.run = match (self.run, passed) {
            (Run::Passed(length), true) => Run::Passed(length.saturating_add(1)),
            (Run::Failed(length), false) => Run::Failed(length.saturating_add(1)),
            (_, true) => Run::Passed(1),
            (_, false) => Run::Failed(1),
        };
        self.postpone(now);
        let health = match self.run {
            Run::Passed(length) if length >= self.rules.passes => Availability::Up,
            Run::Failed(length) if length >= self.rules.fails => Availability::Unhealthy,
            _ => self.health,
        };
        if health == self.health {
            return None;
        }
        self.health = health;
        Some(health)
    }

    /// A probe is over that says nothing about the peer, or its outcome has been taken: on to the next.
    pub(super) fn postpone(&mut self, now: Tick) {
        let jitter = self.below(self.rules.jitter);
        self.due = now.after(self.rules.interval).after(jitter);
    }

    /// Goes on under a new generation's rules. `mandatory` without `persistent` starts anew, at once.
    pub(super) fn adopt(&mut self, rules: Rules, now: Tick) {
        if rules.mandatory && !rules.persistent {
            self.health = Availability::Checking;
            self.run = Run::Passed(0);
            self.due = now;
        } else if !rules.mandatory && self.health == Availability::Checking {
            self.health = Availability::Up;
        }
        self.due = self.due.min(now.after(rules.interval).after(rules.jitter));
        self.rules = rules;
    }

    /// From zero up to and including `most`.
    fn below(&mut self, most: Duration) -> Duration {
        let choices = u64::try_from(most.as_millis()).unwrap_or(u64::MAX).saturating_add(1);
        Duration::from_millis(self.dice.roll(choices))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any_rules(dice: &mut Dice) -> Rules {
        let mandatory = dice.roll(2) == 0;
        Rules {
            interval: Duration::from_millis(1 + dice.roll(5000)),
            jitter: Duration::from_millis(dice.roll(3) * dice.roll(1000)),
            fails: 1 + dice.roll(4) as u32,
            passes: 1 + dice.roll(4) as u32,
            mandatory,
            persistent: mandatory && dice.roll(2) == 0,
        }
    }

    /// A peer whose answers come in streaks, reloaded now and then; the history is judged by what
    /// the documentation of `health_check` promises.
    fn simulate(seed: u64) {
        let mut dice = Dice::new(seed);
        let (mut rules, mut now) = (any_rules(&mut dice), Tick(1_000_000 + dice.roll(1000)));
        let spread = Duration::from_millis(dice.roll(5000));
        let mut machine = Machine::new(rules.clone(), now, spread, seed);
        assert!(machine.due() >= now && machine.due() <= now.after(spread), "seed {seed}");
        let mut outcomes: Vec<bool> = Vec::new();
        let mut ever_passed = false;
        for step in 0..400 {
            let claim = |holds: bool, what: &str| assert!(holds, "seed {seed}, step {step}: {what}");
            if dice.roll(40) == 0 {
                let before = machine.health();
                if dice.roll(2) == 0 {
                    rules = any_rules(&mut dice);
                }
                machine.adopt(rules.clone(), now);
                let anew = rules.mandatory && !rules.persistent;
                if anew {
                    outcomes.clear();
                    ever_passed = false;
                    claim(machine.health() == Availability::Checking, "starts anew");
                    claim(machine.due() <= now, "is probed at once");
                } else if before != Availability::Checking {
                    claim(machine.health() == before, "goes on where it was");
                }
                claim(machine.due() <= now.after(rules.interval).after(rules.jitter), "waits no longer than it must");
            }
            now = machine.due().max(now).after(Duration::from_millis(dice.roll(300)));
            let earliest = now.after(rules.interval);
            let window = earliest..=earliest.after(rules.jitter);
            if dice.roll(10) == 0 {
                let before = machine.health();
                machine.postpone(now);
                claim(machine.health() == before, "learns nothing from a probe without an outcome");
                claim(window.contains(&machine.due()), "tries again in interval to interval + jitter");
                continue;
            }
            let streak = outcomes.last().copied().unwrap_or(true);
            let passed = if dice.roll(3) == 0 { !streak } else { streak };
            outcomes.push(passed);
            ever_passed |= passed;
            let before = machine.health();
            let change = machine.probed(now, passed);
            claim(change.unwrap_or(before) == machine.health(), "says what it has become");
            claim(change != Some(before), "speaks of changes only");
            let run = outcomes.iter().rev().take_while(|outcome| **outcome == passed).count() as u32;
            match (machine.health(), passed) {
                (Availability::Up, false) => claim(run < rules.fails, "is unhealthy after its fails"),
                (Availability::Unhealthy, true) => claim(run < rules.passes, "is healthy after its passes"),
                (Availability::Checking, true) => claim(run < rules.passes, "is checked after its passes"),
                (Availability::Checking, false) => claim(run < rules.fails, "is checked after its fails"),
                _ => {}
            }
            match change {
                Some(Availability::Up) => claim(passed && run >= rules.passes, "became healthy by passes in a row"),
                Some(Availability::Unhealthy) => claim(!passed && run >= rules.fails, "became unhealthy by fails"),
                Some(Availability::Checking) => claim(false, "a probe never makes a peer unknown"),
                None => {}
            }
            if rules.mandatory && !rules.persistent && !ever_passed {
                claim(machine.health() != Availability::Up, "is not up before its first pass");
            }
            claim(window.contains(&machine.due()), "is probed in interval to interval + jitter");
        }
    }

    #[test]
    fn keeps_its_promises_whatever_happens() {
        (0..256).for_each(simulate);
    }

    fn rules() -> Rules {
        Rules {
            interval: Duration::from_secs(5),
            jitter: Duration::ZERO,
            fails: 3,
            passes: 2,
            mandatory: false,
            persistent: false,
        }
    }

    #[test]
    fn flips_after_exactly_its_fails_and_passes() {
        let mut machine = Machine::new(rules(), Tick(0), Duration::ZERO, 1);
        let mut said = |passed| machine.probed(Tick(0), passed);
        let outcomes = [false, false, true, false, false, false, false, true, false, true, true, true];
        let changes: Vec<_> = outcomes.into_iter().map(&mut said).collect();
        assert_eq!(changes[5], Some(Availability::Unhealthy));
        assert_eq!(changes[10], Some(Availability::Up));
        assert_eq!(changes.iter().flatten().count(), 2);
    }

    #[test]
    fn persistent_peers_stay_up_over_a_reload_and_others_do_not() {
        for persistent in [false, true] {
            let mandatory = Rules { mandatory: true, persistent, passes: 1, ..rules() };
            let mut machine = Machine::new(mandatory.clone(), Tick(0), Duration::ZERO, 1);
            assert_eq!(machine.health(), Availability::Checking);
            assert_eq!(machine.probed(Tick(10), true), Some(Availability::Up));
            machine.adopt(mandatory, Tick(20));
            assert_eq!(machine.health(), if persistent { Availability::Up } else { Availability::Checking });
        }
    }

    #[test]
    fn ten_thousand_first_probes_are_spread_evenly() {
        let spread = Duration::from_secs(5);
        let mut seconds = [0_u32; 5];
        for seed in 0..10_000 {
            let due = Machine::new(rules(), Tick(0), spread, seed).due();
            seconds[(due.0 / 1000).min(4) as usize] += 1;
        }
        assert!(seconds.iter().all(|count| (1800..2200).contains(count)), "{seconds:?}");
    }
}
