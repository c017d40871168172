//! One scenario against all proxies: start them, warm them, measure them in turns.

use std::time::{Duration, Instant};

use crate::Fault;
use crate::cli::Options;
use crate::engine::{Engine, Load, Tally};
use crate::histogram::Histogram;
use crate::profile;
use crate::proxies::{Product, Proxy};
use crate::scenario::{Kind, Scenario, Site};
use crate::{measure, namespace};

/// Everything one proxy did in one scenario.
pub struct Cell {
    pub scenario: &'static Scenario,
    pub label: String,
    pub rounds: Vec<Round>,
    pub latency: Histogram,
    pub errors: u64,
    pub first_error: Option<String>,
    /// Bytes of Pss under load; of an idle scenario with all connections open.
    pub memory: u64,
    /// Bytes of Pss before the idle connections came.
    pub memory_before: u64,
    pub failure: Option<String>,
}

pub struct Round {
    pub operations: f64,
    pub cpu: Duration,
    pub wall: Duration,
}

impl Cell {
    fn new(scenario: &'static Scenario, label: &str) -> Cell {
        Cell {
            scenario,
            label: label.to_owned(),
            rounds: Vec::new(),
            latency: Histogram::default(),
            errors: 0,
            first_error: None,
            memory: 0,
            memory_before: 0,
            failure: None,
        }
    }

    fn add(&mut self, round: Round, tally: &Tally) {
        self.rounds.push(round);
        self.latency.add(&tally.latency);
        self.errors += tally.errors;
        if self.first_error.is_none() {
            self.first_error.clone_from(&tally.first_error);
        }
    }
}

pub const RELOADS: usize = 20;
const BETWEEN_RELOADS: Duration = Duration::from_millis(250);
/// Of each round, not counted: connections are made and windows grow.
const WARM_UP: Duration = Duration::from_millis(200);
const PATIENCE: usize = 600;

/// Descriptors of the load besides what its peers have open: clients, listeners, files.
const OTHER_DESCRIPTORS: usize = 1000;

/// One proxy in one scenario.
struct Contestant<'a> {
    product: Product,
    label: &'a str,
    number: usize,
    proxy: Option<Proxy>,
    cell: Cell,
}

/// A proxy that fails gets a cell that says so; the others go on.
pub fn scenario(
    engine: &mut Engine,
    scenario: &'static Scenario,
    products: &[(Product, String)],
    options: &Options,
) -> Result<Vec<Cell>, Fault> {
    let numbered = products.iter().enumerate().filter(|(_, (product, _))| takes_part(*product, scenario));
    let mut contestants: Vec<Contestant> = numbered
        .map(|(number, (product, label))| {
            let cell = Cell::new(scenario, label);
            Contestant { product: *product, label, number, proxy: None, cell }
        })
        .collect();
    // Each keeps a connection to each server, and the other ends of all of them are ours.
    let together = scenario.servers * contestants.len() + OTHER_DESCRIPTORS < namespace::descriptors();
    let rounds = if matches!(scenario.kind, Kind::Idle(_) | Kind::Reload) { 1 } else { options.rounds };
    for number in 1..=rounds {
        for contestant in contestants.iter_mut().filter(|it| it.cell.failure.is_none()) {
            eprint!("round {number}/{rounds} {} {} ...", scenario.name, contestant.label);
            contestant.cell.failure = contestant.round(engine, options).err().map(|error| error.to_string());
            eprintln!(" {}", contestant.cell.failure.clone().unwrap_or_else(|| last_cost(&contestant.cell)));
            if !together {
                contestant.proxy = None;
                engine.run(&mut Load::none(), WARM_UP, |_| false)?;
            }
        }
    }
    for contestant in contestants.iter_mut().filter(|it| it.cell.failure.is_none()) {
        if !(options.perf || options.syscalls) {
            break;
        }
        let proxy = contestant.running(engine)?;
        profile::after(engine, proxy, scenario, options)?;
        if !together {
            contestant.proxy = None;
        }
    }
    Ok(contestants.into_iter().map(|contestant| contestant.cell).collect())
}

impl Contestant<'_> {
    fn running(&mut self, engine: &mut Engine) -> Result<&mut Proxy, Fault> {
        let proxy = match self.proxy.take() {
            Some(proxy) => proxy,
            None => start(engine, self.product, self.label, self.number, self.cell.scenario)?,
        };
        Ok(self.proxy.insert(proxy))
    }

    fn round(&mut self, engine: &mut Engine, options: &Options) -> Result<(), Fault> {
        self.running(engine)?;
        let Some(proxy) = &mut self.proxy else { return Ok(()) };
        one_round(engine, proxy, &mut self.cell, options)
    }
}

/// HAProxy has no UDP and no files, a thousand locations are another thing there, and its reload is another program's worth of set-up (master-worker, a socket, a state file).
fn takes_part(product: Product, scenario: &Scenario) -> bool {
    let apart =
        matches!(scenario.kind, Kind::Udp(_) | Kind::Reload) || matches!(scenario.site, Site::Files | Site::Routes);
    product != Product::Haproxy || !apart
}

fn last_cost(cell: &Cell) -> String {
    let Some(round) = cell.rounds.last() else { return String::new() };
    let cost = round.cpu.as_secs_f64() * 1e6 / round.operations;
    let busy = round.cpu.as_secs_f64() / round.wall.as_secs_f64() * 100.0;
    format!("{cost:.2} us/op, {busy:.0} % of its CPU")
}

fn start(
    engine: &mut Engine,
    product: Product,
    label: &str,
    number: usize,
    scenario: &Scenario,
) -> Result<Proxy, Fault> {
    let mut proxy = Proxy::start(product, label, number, scenario)?;
    let mut load = scenario.warm_up(proxy.address);
    // Once to each server, so that every round finds the idle connections the first one would have had to make.
    let wanted = scenario.servers.max(1000) as u64;
    for _ in 0..PATIENCE {
        engine.run(&mut load, Duration::from_millis(50), |load| load.done() >= wanted)?;
        if load.done() >= wanted {
            return Ok(proxy);
        }
        if !proxy.is_running() {
            return Err(proxy.last_words().into());
        }
    }
    let why = load.tally().first_error.take().unwrap_or_else(|| "it does not answer".to_owned());
    Err(format!("{} of {wanted} warm-up operations in 30 s: {why}; {}", load.done(), proxy.last_words()).into())
}

fn one_round(engine: &mut Engine, proxy: &mut Proxy, cell: &mut Cell, options: &Options) -> Result<(), Fault> {
    match cell.scenario.kind {
        Kind::Idle(_) => idle(engine, proxy, cell)?,
        Kind::Reload => reload(engine, proxy, cell)?,
        Kind::Http(_) | Kind::Tcp(_) | Kind::Udp(_) => {
            let mut load = cell.scenario.load(proxy.address);
            engine.run(&mut load, WARM_UP, |_| false)?;
            let time = options.round.mul_f64(cell.scenario.share);
            let round = timed(proxy, &mut load, |load| engine.run(load, time, |_| false))?;
            cell.add(round, load.tally());
            cell.memory = measure::memory(proxy.pid())?;
        }
    }
    if proxy.is_running() { Ok(()) } else { Err(format!("it ended: {}", proxy.last_words()).into()) }
}

fn timed(proxy: &Proxy, load: &mut Load, drive: impl FnOnce(&mut Load) -> Result<(), Fault>) -> Result<Round, Fault> {
    *load.tally() = Tally::default();
    let (cpu, start) = (measure::cpu_time(proxy.pid()), Instant::now());
    drive(load)?;
    let cpu = measure::cpu_time(proxy.pid()).saturating_sub(cpu);
    let operations = load.done() as f64;
    if operations == 0.0 {
        let why = load.tally().first_error.take().unwrap_or_else(|| "no answers".to_owned());
        return Err(format!("not one operation was done: {why}").into());
    }
    Ok(Round { operations, cpu, wall: start.elapsed() })
}

fn idle(engine: &mut Engine, proxy: &Proxy, cell: &mut Cell) -> Result<(), Fault> {
    engine.run(&mut Load::none(), Duration::from_millis(500), |_| false)?;
    cell.memory_before = measure::memory(proxy.pid())?;
    let mut load = cell.scenario.load(proxy.address);
    let wanted = cell.scenario.idle_clients() as u64;
    let all = |load: &Load| load.done() >= wanted;
    let round = timed(proxy, &mut load, |load| engine.run(load, Duration::from_secs(30), all))?;
    // What is given back when connections rest is given back by now.
    engine.run(&mut load, Duration::from_secs(2), |_| false)?;
    cell.memory = measure::memory(proxy.pid())?;
    cell.add(round, load.tally());
    if load.done() < wanted {
        return Err(format!("only {} of {wanted} connections were answered", load.done()).into());
    }
    Ok(())
}

fn reload(engine: &mut Engine, proxy: &Proxy, cell: &mut Cell) -> Result<(), Fault> {
    let mut load = cell.scenario.load(proxy.address);
    engine.run(&mut load, WARM_UP, |_| false)?;
    let round = timed(proxy, &mut load, |load| {
        for _ in 0..RELOADS {
            proxy.reload()?;
            engine.run(load, BETWEEN_RELOADS, |_| false)?;
        }
        Ok(())
    })?;
    cell.memory = measure::memory(proxy.pid())?;
    cell.add(round, load.tally());
    Ok(())
}
