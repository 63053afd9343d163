//! How a run goes, for a terminal, a log or a program.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use vrt::restore::{Event, Plan, Progress, Stage, Status};
use vrt_kernels::Precision;
use vrt_model::tiled::Tiling;

use super::table::bytes;
use super::{GlobalOptions, output};

/// Steps of the bar: it moves by tiles, not by frames alone.
const BAR_STEPS: u64 = 1000;

/// Time between lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Time between JSON events.
const JSON_EVERY: Duration = Duration::from_millis(500);

/// How often the bar is drawn while nothing happens.
const TICK: Duration = Duration::from_millis(500);

/// Tells how a run goes.
pub(crate) struct Reporter {
    form: Form,
    /// What the network is computed with.
    precision: Precision,
    started: Instant,
    last: Option<(Instant, Stage)>,
}

enum Form {
    Nothing,
    Bar(ProgressBar),
    Lines,
    Json,
}

impl Reporter {
    /// For a person at a terminal, a log, or a program, as the options and standard error are.
    pub(crate) fn new(global: &GlobalOptions, precision: Precision) -> Self {
        let form = match (global.json, global.quiet) {
            (true, _) => Form::Json,
            (false, true) => Form::Nothing,
            _ if io::stderr().is_terminal() => Form::Bar(bar()),
            _ => Form::Lines,
        };
        Self { form, precision, started: Instant::now(), last: None }
    }

    /// Something that a person should know and that does not end the run.
    pub(crate) fn warn(&self, text: &str) {
        match &self.form {
            Form::Nothing => {}
            Form::Bar(bar) => bar.suspend(|| output::message(&format!("warning: {text}"))),
            Form::Lines => output::message(&format!("warning: {text}")),
            Form::Json => send(&json!({ "event": "warning", "message": text })),
        }
    }

    /// The run is over: what is told from now on stands below the bar.
    pub(crate) fn finish(&self) {
        if let Form::Bar(bar) = &self.form {
            bar.finish_and_clear();
        }
    }

    fn planned(&mut self, plan: &Plan) {
        self.started = Instant::now();
        match &self.form {
            Form::Nothing => {}
            Form::Bar(bar) => {
                bar.enable_steady_tick(TICK);
                bar.suspend(|| output::message(&plan_in_words(plan, self.precision)));
            }
            Form::Lines => output::message(&plan_in_words(plan, self.precision)),
            Form::Json => send(&plan_as_json(plan, self.precision)),
        }
    }

    fn moved(&mut self, status: &Status) {
        let now = Instant::now();
        let pace = Pace::of(status, now - self.started);
        match &self.form {
            Form::Nothing => return,
            Form::Bar(bar) => {
                if let Some(total) = status.total.filter(|total| *total > 0) {
                    bar.set_length(BAR_STEPS);
                    let share = status.estimate / total as f64;
                    bar.set_position((share * BAR_STEPS as f64) as u64);
                }
                bar.set_message(status_in_words(status, pace));
                return;
            }
            Form::Lines if !self.is_due(now, status, LINE_EVERY) => return,
            Form::Lines => output::message(&status_in_words(status, pace)),
            Form::Json if !self.is_due(now, status, JSON_EVERY) => return,
            Form::Json => send(&status_as_json(status, pace)),
        }
        self.last = Some((now, status.stage));
    }

    /// Whether it is time to tell again; the last stage is always told.
    fn is_due(&self, now: Instant, status: &Status, every: Duration) -> bool {
        self.last.is_none_or(|(told, stage)| {
            let ending = status.stage == Stage::Finishing && stage != Stage::Finishing;
            now - told >= every || ending
        })
    }
}

impl Progress for Reporter {
    fn on_event(&mut self, event: &Event) {
        match event {
            Event::Planned(plan) => self.planned(plan),
            Event::Moved(status) => self.moved(status),
            Event::Shrunk { size } => self.warn(&format!(
                "the memory of the device is too small for the tiles: going on with tiles of \
                 {size}×{size} pixels; state less with --memory to begin with them"
            )),
        }
    }
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    let template = "{spinner} {wide_bar} {msg}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

/// A reader that has gone away does not end a run whose output is a file.
fn send(value: &serde_json::Value) {
    let _ = output::json(value);
}

/// How fast a run is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Pace {
    frames_per_second: Option<f64>,
    seconds_left: Option<f64>,
}

impl Pace {
    fn of(status: &Status, elapsed: Duration) -> Self {
        let seconds = elapsed.as_secs_f64();
        if status.estimate <= 0.0 || seconds <= 0.0 {
            return Self::default();
        }
        let rate = status.estimate / seconds;
        let left = status.total.map(|total| (total as f64 - status.estimate).max(0.0) / rate);
        Self { frames_per_second: Some(rate), seconds_left: left }
    }
}

fn status_in_words(status: &Status, pace: Pace) -> String {
    let stage = match status.stage {
        Stage::Reading => "reading".to_owned(),
        Stage::Restoring => match status.tiles {
            (_, 1) => "restoring".to_owned(),
            (done, all) => format!("restoring, tile {done} of {all}"),
        },
        Stage::Finishing => "finishing".to_owned(),
    };
    let frames = match status.total {
        Some(total) => format!("{} of {total} frames", status.frames),
        None => format!("{} frames", status.frames),
    };
    let mut text = format!("{stage}, {frames}");
    if let Some(rate) = pace.frames_per_second {
        text.push_str(&format!(", {rate:.2} fps"));
    }
    if let Some(left) = pace.seconds_left {
        text.push_str(&format!(", {} left", clock(left)));
    }
    text
}

/// `1:02:03` or `2:03`.
pub(super) fn clock(seconds: f64) -> String {
    let seconds = seconds.ceil() as u64;
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match hours {
        0 => format!("{minutes}:{seconds:02}"),
        _ => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

fn plan_in_words(plan: &Plan, precision: Precision) -> String {
    let Plan { input, output, tiling, tile } = plan;
    let spec = tile.spec;
    let frames = match spec.frames() {
        0 => "all frames".to_owned(),
        frames => format!("{frames} frames overlapping by {}", spec.overlap_frames()),
    };
    let size = match spec.size() {
        0 => "whole pictures".to_owned(),
        size => format!("{size}×{size} pixels overlapping by {}", spec.overlap_size()),
    };
    let memory = tile.memory.map_or_else(String::new, |memory| {
        let (predicted, budget) = (bytes(memory.predicted), bytes(memory.budget));
        format!("; about {predicted} of memory, where {budget} may be used")
    });
    format!(
        "{}×{} to {}×{} in {precision}, {} tiles of {frames}, {size}{memory}",
        input.width,
        input.height,
        output.width,
        output.height,
        tiling_name(*tiling),
    )
}

fn tiling_name(tiling: Tiling) -> &'static str {
    match tiling {
        Tiling::Seamless => "seamless",
        Tiling::Published => "published",
    }
}

fn plan_as_json(plan: &Plan, precision: Precision) -> serde_json::Value {
    let spec = plan.tile.spec;
    json!({
        "event": "planned",
        "input": plan.input,
        "output": plan.output,
        "precision": precision.to_string(),
        "tiling": tiling_name(plan.tiling),
        "tile": { "frames": spec.frames(), "size": spec.size() },
        "overlap": { "frames": spec.overlap_frames(), "size": spec.overlap_size() },
        "memory": plan.tile.memory,
    })
}

fn status_as_json(status: &Status, pace: Pace) -> serde_json::Value {
    let (tiles_done, tiles) = status.tiles;
    json!({
        "event": "progress",
        "stage": status.stage,
        "frames": status.frames,
        "total": status.total,
        "estimate": status.estimate,
        "tiles_done": tiles_done,
        "tiles": tiles,
        "fps": pace.frames_per_second,
        "seconds_left": pace.seconds_left,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HALF: Status = Status {
        stage: Stage::Restoring,
        frames: 4,
        estimate: 6.0,
        total: Some(12),
        tiles: (1, 2),
    };

    #[test]
    fn pace_counts_the_window_under_way() {
        let pace = Pace::of(&HALF, Duration::from_secs(3));
        assert_eq!(pace, Pace { frames_per_second: Some(2.0), seconds_left: Some(3.0) });
        let text = status_in_words(&HALF, pace);
        assert_eq!(text, "restoring, tile 1 of 2, 4 of 12 frames, 2.00 fps, 0:03 left");
    }

    #[test]
    fn nothing_is_said_about_a_pace_that_is_not_known() {
        let begun = Status { estimate: 0.0, frames: 0, total: None, ..HALF };
        assert_eq!(Pace::of(&begun, Duration::from_secs(3)), Pace::default());
        let text = status_in_words(&begun, Pace::default());
        assert_eq!(text, "restoring, tile 1 of 2, 0 frames");
    }

    #[test]
    fn clocks_have_hours_only_when_needed() {
        assert_eq!([clock(0.2), clock(61.0), clock(3723.0)], ["0:01", "1:01", "1:02:03"]);
    }
}
