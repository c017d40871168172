//! fairlead-bench: fairlead side by side with Debian's nginx and HAProxy, in operations per CPU second of the proxy.
//!
//! It starts itself again in namespaces of its own (`namespace`), starts the proxies on one CPU (`proxies`), drives
//! them from the other (`engine`, the loads and `peer`), and prints ratios (`report`). Rates and latencies of a machine
//! with two CPUs are noise; CPU time per operation is not, and nginx against itself shows by how much.

mod cli;
mod configuration;
mod connection;
mod engine;
mod histogram;
mod load_http;
mod load_tcp;
mod load_udp;
mod measure;
mod namespace;
mod peer;
mod profile;
mod proxies;
mod report;
mod run;
mod scenario;

use std::process::ExitCode;

use cli::Options;
use engine::Engine;
use proxies::Product;

type Fault = Box<dyn std::error::Error>;

const PROXY_CPU: usize = 0;
const LOAD_CPU: usize = 1;

fn main() -> ExitCode {
    match begin() {
        Ok(code) => code,
        Err(fault) => {
            eprintln!("fairlead-bench: {fault}");
            ExitCode::FAILURE
        }
    }
}

fn begin() -> Result<ExitCode, Fault> {
    let Some(options) = cli::parse(std::env::args().skip(1))? else {
        println!("{}", cli::usage());
        return Ok(ExitCode::SUCCESS);
    };
    if namespace::directory().is_some() {
        namespace::inside()?;
        namespace::pin(LOAD_CPU)?;
        return bench(&options);
    }
    if options.products.contains(&Product::Fairlead) {
        proxies::build_fairlead()?;
    }
    namespace::outside()
}

fn bench(options: &Options) -> Result<ExitCode, Fault> {
    for product in &options.products {
        println!("{}: {}", product.name(), product.version()?);
    }
    println!(
        "{} rounds of {:.1} s, interleaved; one worker on CPU {PROXY_CPU}, load and peers on CPU {LOAD_CPU}; {} clients",
        options.rounds,
        options.round.as_secs_f64(),
        scenario::CLIENTS
    );
    let mut engine = Engine::new()?;
    let even = control(&mut engine, options)?;
    let contestants: Vec<_> = options.products.iter().map(|it| (*it, it.name().to_owned())).collect();
    let mut cells = Vec::new();
    for scenario in &options.scenarios {
        cells.extend(run::scenario(&mut engine, scenario, &contestants, options)?);
    }
    println!();
    report::print(&cells, options.products.first().map_or("", |it| it.name()));
    let failed = cells.iter().any(|cell| cell.failure.is_some());
    Ok(if even && !failed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// No figure is believed before the same binary equals itself.
fn control(engine: &mut Engine, options: &Options) -> Result<bool, Fault> {
    if !options.products.contains(&Product::Nginx) {
        println!("control: none without nginx");
        return Ok(true);
    }
    let twice = [(Product::Nginx, "nginx".to_owned()), (Product::Nginx, "nginx again".to_owned())];
    let quiet = Options { perf: false, syscalls: false, products: Vec::new(), scenarios: Vec::new(), ..*options };
    let cells = run::scenario(engine, scenario::CONTROL, &twice, &quiet)?;
    Ok(report::control(&cells))
}
