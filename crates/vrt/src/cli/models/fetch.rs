//! `vrt models fetch`: a published checkpoint into the cache.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use vrt::models::licence::Licence;
use vrt::models::published::Mirror;
use vrt::models::{
    Cache, FetchError, FetchEvent, FetchOptions, Fetched, Published, Sha256, fetch_published,
};

use super::{cache, published};
use crate::cli::table::bytes;
use crate::cli::{Failure, GlobalOptions, output};

/// Time between lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Time between JSON events.
const JSON_EVERY: Duration = Duration::from_millis(500);

/// Flags of `vrt models fetch`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Arguments {
    /// A published network, such as 006
    #[arg(value_name = "NAME", value_parser = published)]
    network: Published,
    /// Accept the licence of the published checkpoints, CC BY-NC 4.0; needed once
    #[arg(long)]
    accept_licence: bool,
    /// Another source: the address of the file, or of a folder, with / at its end
    #[arg(long, value_name = "URL")]
    from: Option<String>,
    /// SHA-256 that the file must have
    #[arg(long, value_name = "HEX")]
    sha256: Option<Sha256>,
}

/// Runs the command.
pub(super) fn run(arguments: &Arguments, global: &GlobalOptions) -> Result<(), Failure> {
    let (network, cache) = (arguments.network, cache::of(global)?);
    settle_licence(arguments, &cache, global)?;
    let mirror = Mirror { from: arguments.from.as_deref(), sha256: arguments.sha256 };
    let options = FetchOptions { proxy: ureq::Proxy::try_from_env(), ..FetchOptions::default() };
    let mut reporter = Reporter::new(network, global);
    let fetched =
        fetch_published(network, &cache, &mirror, &options, &mut |event| reporter.show(event));
    reporter.finish();
    match fetched {
        Ok(fetched) => conclude(network, &fetched, global),
        Err(error @ (FetchError::Licence { .. } | FetchError::Address(_))) => {
            Err(Failure::Usage(error.to_string()))
        }
        Err(error) => Err(error.into()),
    }
}

/// Notes that the licence is accepted, where the flag or a person at the terminal says so.
fn settle_licence(
    arguments: &Arguments,
    cache: &Cache,
    global: &GlobalOptions,
) -> Result<(), Failure> {
    let licence = arguments.network.licence();
    if cache.accepted(licence) {
        return Ok(());
    }
    let terminal = io::stdin().is_terminal() && io::stderr().is_terminal() && !global.json;
    if arguments.accept_licence || (terminal && ask(arguments.network, licence)?) {
        cache.accept(licence).map_err(|error| cache::unusable(cache, &error))?;
    }
    Ok(())
}

/// Asks the person at the terminal.
fn ask(network: Published, licence: &Licence) -> io::Result<bool> {
    let Licence { id, name, summary, address } = licence;
    output::message(&format!(
        "{} is the work of the authors of VRT, under {name} ({id}):\n{summary}.\n{address}\n\
         Accept it, for this and the other published networks? (y/N)",
        network.name()
    ));
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

fn conclude(network: Published, fetched: &Fetched, global: &GlobalOptions) -> Result<(), Failure> {
    let Fetched { path, sha256, bytes: size, was_there } = fetched;
    let (name, id) = (network.name(), network.id());
    if global.json {
        let event = json!({
            "event": "done",
            "name": name,
            "path": path,
            "bytes": size,
            "sha256": sha256,
            "was_there": was_there,
            "licence": network.licence().id,
        });
        return Ok(output::json(&event)?);
    }
    let how = if *was_there { "there already" } else { "fetched and checked" };
    Ok(output::result(&format!(
        "{name}: {how}, {}, sha256 {sha256}\n{}\nuse it with --weights {id}",
        bytes(*size),
        path.display()
    ))?)
}

/// Tells how a file comes.
struct Reporter {
    form: Form,
    name: &'static str,
    last: Option<Instant>,
}

enum Form {
    Nothing,
    Bar(ProgressBar),
    Lines,
    Json,
}

impl Reporter {
    fn new(network: Published, global: &GlobalOptions) -> Self {
        let form = match (global.json, global.quiet) {
            (true, _) => Form::Json,
            (false, true) => Form::Nothing,
            _ if io::stderr().is_terminal() => Form::Bar(bar()),
            _ => Form::Lines,
        };
        Self { form, name: network.name(), last: None }
    }

    fn finish(&self) {
        if let Form::Bar(bar) = &self.form {
            bar.finish_and_clear();
        }
    }

    fn show(&mut self, event: FetchEvent<'_>) {
        match event {
            FetchEvent::Waiting => self.say("waiting for another process that fetches it"),
            FetchEvent::Asked { address, have: 0 } => self.say(&format!("from {address}")),
            FetchEvent::Asked { address, have } => {
                self.say(&format!("from {address}, going on behind {}", bytes(have)));
            }
            FetchEvent::Moved { have, total } => self.moved(have, total),
            FetchEvent::Again { reason, pause } => {
                self.say(&format!("{reason}; again in {:.0} s", pause.as_secs_f64()));
            }
            FetchEvent::Checking => self.say("checking"),
        }
    }

    fn say(&self, text: &str) {
        let line = format!("{}: {text}", self.name);
        match &self.form {
            Form::Nothing => {}
            Form::Bar(bar) => bar.suspend(|| output::message(&line)),
            Form::Lines => output::message(&line),
            Form::Json => send(&json!({ "event": "message", "message": line })),
        }
    }

    fn moved(&mut self, have: u64, total: Option<u64>) {
        let every = match &self.form {
            Form::Nothing => return,
            Form::Bar(bar) => {
                if let Some(total) = total {
                    bar.set_length(total);
                }
                return bar.set_position(have);
            }
            Form::Lines => LINE_EVERY,
            Form::Json => JSON_EVERY,
        };
        // Small files come without a word.
        let now = Instant::now();
        if now - *self.last.get_or_insert(now) < every && total != Some(have) {
            return;
        }
        self.last = Some(now);
        match (&self.form, total) {
            (Form::Json, _) => {
                send(&json!({ "event": "progress", "bytes": have, "total": total }));
            }
            (_, Some(total)) => {
                output::message(&format!("{} of {}", bytes(have), bytes(total)));
            }
            (_, None) => output::message(&bytes(have)),
        }
    }
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    let template = "{spinner} {wide_bar} {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}, {eta} left";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

/// A reader that has gone away does not end a download.
fn send(value: &serde_json::Value) {
    let _ = output::json(value);
}
