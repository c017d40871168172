//! The tables a person reads: medians, pairwise ratios with their range, and what must be said about them.

use crate::histogram::Histogram;
use crate::run::{Cell, RELOADS, Round};
use crate::scenario::{CONTROL, Kind, Plane};

/// Below this share of its core the proxy waited for the load.
const BUSY: f64 = 0.6;
const CONTROL_TOLERANCE: f64 = 0.05;

/// `base` is the proxy all ratios are to.
pub fn print(cells: &[Cell], base: &str) {
    let of = |wanted: fn(&Cell) -> bool| cells.iter().filter(move |cell| wanted(cell)).collect::<Vec<_>>();
    let timed = of(|cell| !matches!(cell.scenario.kind, Kind::Idle(_) | Kind::Reload));
    if !timed.is_empty() {
        let ratio = format!("x {base} [min-max]");
        let heads = ["scenario", "proxy", "us CPU/op", &ratio, "op/s", "p50 us", "p99 us", "util %", "Pss MiB"];
        let rows = timed.iter().map(|cell| timed_row(cell, base_of(cells, cell, base)).to_vec());
        table(&heads, rows.collect());
        println!(
            "x {base}: operations per CPU second over {base}'s of the same round, median [min-max]; above 1 is cheaper."
        );
        println!("*: the proxy used less than 60 % of its core, the load was the limit; CPU/op holds, op/s does not.");
        println!("tcp_bulk*: an operation is 1 MB (10^6 bytes), so us/op is ms/GB.");
        for (few, many) in [("peers_2", "peers_10000"), ("peers_10", "peers_10000"), ("tcp_peers_2", "tcp_peers_10000")]
        {
            peers_growth(&timed, few, many);
        }
    }
    idle(
        &of(|cell| cell.scenario.kind == Kind::Idle(Plane::Http)),
        "idle keepalive connections after one request each",
    );
    idle(&of(|cell| cell.scenario.kind == Kind::Idle(Plane::Tcp)), "idle TCP sessions, both sides, after one message");
    let reload = of(|cell| cell.scenario.kind == Kind::Reload);
    if !reload.is_empty() {
        println!("\n{RELOADS} reloads under keepalive load");
        let heads = ["proxy", "errors", "requests", "us CPU/op", "p50 us", "p99 us", "Pss MiB"];
        table(&heads, reload.iter().map(|cell| reload_row(cell)).collect());
    }
    remarks(cells);
}

fn idle(cells: &[&Cell], what: &str) {
    let Some(first) = cells.first() else { return };
    println!("\n{} {what}", first.scenario.idle_clients());
    let heads = ["proxy", "B/connection", "MiB before", "MiB with them"];
    table(&heads, cells.iter().map(|cell| idle_row(cell)).collect());
}

/// Whether nginx against itself came out even; says so either way.
pub fn control(cells: &[Cell]) -> bool {
    let [first, second] = cells else { return false };
    let Some((median, low, high)) = ratio(second, Some(first)) else {
        println!("WARNING: the control did not run: {:?} {:?}", first.failure, second.failure);
        return false;
    };
    let even = (median - 1.0).abs() <= CONTROL_TOLERANCE;
    println!("control: nginx against itself ({}) {median:.3} [{low:.2}-{high:.2}], wanted 1.00 +- 0.05", CONTROL.name);
    if !even {
        println!("WARNING: the same binary does not equal itself on this machine now; believe no figure below");
    }
    even
}

fn base_of<'a>(cells: &'a [Cell], cell: &Cell, base: &str) -> Option<&'a Cell> {
    cells.iter().find(|other| other.scenario.name == cell.scenario.name && other.label == base)
}

fn timed_row(cell: &Cell, base: Option<&Cell>) -> [String; 9] {
    let scenario = cell.scenario.name.to_owned();
    if cell.failure.is_some() {
        let mut row: [String; 9] = std::array::from_fn(|_| "-".to_owned());
        row[..3].clone_from_slice(&[scenario, cell.label.clone(), "failed".to_owned()]);
        return row;
    }
    let util = cell.median(|round| round.cpu.as_secs_f64() / round.wall.as_secs_f64());
    let rate = cell.median(|round| round.operations / cell.scenario.per_operation() / round.wall.as_secs_f64());
    let ratio = match ratio(cell, base) {
        Some((median, low, high)) => format!("{median:.2} [{low:.2}-{high:.2}]"),
        None => "-".to_owned(),
    };
    let mark = if util < BUSY { "*" } else { " " };
    [
        scenario,
        cell.label.clone(),
        format!("{:.2}", cell.cost()),
        ratio,
        format!("{rate:.0}"),
        micros(&cell.latency, 0.5),
        micros(&cell.latency, 0.99),
        format!("{:.0}{mark}", util * 100.0),
        mebibytes(cell.memory),
    ]
}

fn idle_row(cell: &Cell) -> Vec<String> {
    let each = (cell.memory as f64 - cell.memory_before as f64) / cell.scenario.idle_clients() as f64;
    let each = if cell.failure.is_some() { "failed".to_owned() } else { format!("{each:.0}") };
    vec![cell.label.clone(), each, mebibytes(cell.memory_before), mebibytes(cell.memory)]
}

fn reload_row(cell: &Cell) -> Vec<String> {
    let (errors, cost) = match cell.failure {
        Some(_) => ("failed".to_owned(), "-".to_owned()),
        None => (cell.errors.to_string(), format!("{:.2}", cell.cost())),
    };
    let requests: f64 = cell.rounds.iter().map(|round| round.operations).sum();
    let (p50, p99) = (micros(&cell.latency, 0.5), micros(&cell.latency, 0.99));
    vec![cell.label.clone(), errors, format!("{requests:.0}"), cost, p50, p99, mebibytes(cell.memory)]
}

/// What ten thousand servers cost over a few: the balancer's own share, which should not grow with the group.
fn peers_growth(cells: &[&Cell], few: &str, many: &str) {
    let cost = |name: &str, label: &str| {
        let mut found = cells.iter().filter(|cell| cell.scenario.name == name && cell.label == label);
        found.next().filter(|cell| cell.failure.is_none()).map(|cell| cell.cost())
    };
    let grown: Vec<String> = cells
        .iter()
        .filter(|cell| cell.scenario.name == many)
        .filter_map(|cell| {
            let growth = cost(many, &cell.label)? / cost(few, &cell.label)?;
            Some(format!("{} {growth:.2}x", cell.label))
        })
        .collect();
    if !grown.is_empty() {
        println!("CPU per operation, {many} over {few}: {}", grown.join(", "));
    }
}

fn remarks(cells: &[Cell]) {
    for cell in cells {
        let place = format!("{} {}", cell.scenario.name, cell.label);
        if let Some(failure) = &cell.failure {
            println!("! {place} failed: {failure}");
        }
        if let Some(error) = &cell.first_error {
            println!("! {place}: {} errors seen by clients, the first: {error}", cell.errors);
        }
    }
}

impl Cell {
    /// Microseconds of CPU to an operation, the median of the rounds.
    fn cost(&self) -> f64 {
        self.median(|round| round.cost() * self.scenario.per_operation())
    }

    fn median(&self, of: impl Fn(&Round) -> f64) -> f64 {
        median(self.rounds.iter().map(of).collect())
    }
}

impl Round {
    fn cost(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.operations
    }
}

/// Round against round, so that what slows the machine for a while slows both sides: median, lowest, highest.
fn ratio(cell: &Cell, base: Option<&Cell>) -> Option<(f64, f64, f64)> {
    let base = base.filter(|base| base.failure.is_none() && cell.failure.is_none())?;
    let ratios: Vec<f64> = cell.rounds.iter().zip(&base.rounds).map(|(own, base)| base.cost() / own.cost()).collect();
    let low = ratios.iter().copied().fold(f64::INFINITY, f64::min);
    let high = ratios.iter().copied().fold(0.0, f64::max);
    Some((median(ratios), low, high))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values[..] {
        [] => f64::NAN,
        _ if values.len() % 2 == 1 => values[middle],
        _ => (values[middle - 1] + values[middle]) / 2.0,
    }
}

fn micros(latency: &Histogram, share: f64) -> String {
    latency.percentile(share).map_or("-".to_owned(), |it| format!("{:.0}", it.as_nanos() as f64 / 1000.0))
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / (1024.0 * 1024.0))
}

/// Names to the left, figures to the right.
fn table(heads: &[&str], rows: Vec<Vec<String>>) {
    let heads: Vec<String> = heads.iter().map(|head| (*head).to_owned()).collect();
    let width = |column: usize| {
        let cells = rows.iter().chain([&heads]).map(|row| row[column].chars().count());
        cells.max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    let is_name: Vec<bool> = heads.iter().map(|head| head == "scenario" || head == "proxy").collect();
    let mut before: Option<&String> = None;
    for row in [&heads].into_iter().chain(&rows) {
        if heads[0] == "scenario" && before.is_some_and(|name| *name != row[0]) {
            println!();
        }
        before = Some(&row[0]);
        let cells =
            row.iter().zip(&widths).zip(&is_name).map(|((text, &width), &left)| {
                if left { format!("{text:<width$}") } else { format!("{text:>width$}") }
            });
        println!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_the_two() {
        assert_eq!(median(vec![4.0, 1.0, 3.0]), 3.0);
        assert_eq!(median(vec![4.0, 1.0, 3.0, 2.0]), 2.5);
        assert!(median(Vec::new()).is_nan());
    }
}
