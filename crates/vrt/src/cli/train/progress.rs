//! How training goes, for a terminal, a log or a program.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use vrt_train::step::StepReport;
use vrt_train::trainer::Event;

use crate::cli::progress::clock;
use crate::cli::{GlobalOptions, output};

/// Time between lines of a log where the options do not state steps.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// How often the bar is drawn while nothing happens.
const TICK: Duration = Duration::from_millis(500);

/// Tells how training goes.
pub(super) struct Reporter {
    form: Form,
    /// Whether this is the first of the ranks.
    first: bool,
    /// Steps between lines of a log.
    print_every: Option<u64>,
    last_line: Option<Instant>,
    pace: Pace,
    total: u64,
}

enum Form {
    Nothing,
    Bar(ProgressBar),
    Lines,
    Json,
}

impl Reporter {
    /// A reporter that says something only in the first of several ranks.
    pub(super) fn new(global: &GlobalOptions, print_every: Option<u64>, first: bool) -> Self {
        let form = match (global.json, global.quiet) {
            _ if !first => Form::Nothing,
            (true, _) => Form::Json,
            (false, true) => Form::Nothing,
            _ if io::stderr().is_terminal() => Form::Bar(bar()),
            _ => Form::Lines,
        };
        let pace = Pace::default();
        Self { form, first, print_every, last_line: None, pace, total: 0 }
    }

    /// The options with all defaults.
    pub(super) fn options(&self, text: &str) {
        match &self.form {
            Form::Nothing => {}
            Form::Json => {
                if let Ok(options) = serde_json::from_str::<serde_json::Value>(text) {
                    send(&json!({ "event": "options", "options": options }));
                }
            }
            _ => self.say(text.trim_end()),
        }
    }

    /// Something that a person should know and that does not end the run.
    pub(super) fn message(&self, text: &str) {
        match &self.form {
            _ if !self.first => {}
            Form::Nothing => {}
            Form::Json => send(&json!({ "event": "message", "message": text })),
            _ => self.say(text),
        }
    }

    /// The run is over: what is told from now on stands below the bar.
    pub(super) fn finish(&self) {
        if let Form::Bar(bar) = &self.form {
            bar.finish_and_clear();
        }
    }

    pub(super) fn on_event(&mut self, event: &Event<'_>) {
        match event {
            Event::Started { step, total, folder } => {
                self.total = *total;
                if let Form::Bar(bar) = &self.form {
                    bar.set_length(*total);
                    bar.set_position(*step);
                    bar.enable_steady_tick(TICK);
                }
                self.message(&format!("step {step} of {total}, in {}", folder.display()));
            }
            Event::Step { report, elapsed } => self.step(report, *elapsed),
            Event::Saved { step } => match &self.form {
                Form::Json => send(&json!({ "event": "saved", "step": step })),
                Form::Lines => self.say(&format!("step {step} is saved")),
                Form::Bar(_) | Form::Nothing => {}
            },
            Event::Validated { step, scores } => match &self.form {
                Form::Json => {
                    send(&json!({ "event": "validation", "step": step, "scores": scores }));
                }
                _ => {
                    let mean = scores.mean;
                    self.message(&format!(
                        "step {step}: PSNR {:.3} dB, SSIM {:.4}; luma {:.3} dB, {:.4}",
                        mean.psnr, mean.ssim, mean.psnr_y, mean.ssim_y
                    ));
                }
            },
            Event::WentBack { step, to, trouble } => self.message(&format!(
                "step {step}: {trouble}; going on from step {to} with the samples behind"
            )),
            Event::Message(text) => self.message(text),
            _ => {}
        }
    }

    fn step(&mut self, report: &StepReport, elapsed: Duration) {
        self.pace.add(elapsed);
        match &self.form {
            Form::Nothing => {}
            Form::Json => send(&json!({
                "event": "step",
                "step": report.step,
                "loss": report.loss,
                "lr": report.rates,
                "grad_norm": report.gradient_norm,
                "seconds": elapsed.as_secs_f64(),
            })),
            Form::Bar(bar) => {
                bar.set_position(report.step);
                bar.set_message(in_words(report, self.total, self.pace));
            }
            Form::Lines if !self.is_due(report.step) => {}
            Form::Lines => {
                self.say(&in_words(report, self.total, self.pace));
                self.last_line = Some(Instant::now());
            }
        }
    }

    /// Whether a line of a log is due; the last step is always told.
    fn is_due(&self, step: u64) -> bool {
        let due = match self.print_every {
            Some(every) => step.is_multiple_of(every),
            None => self.last_line.is_none_or(|last| last.elapsed() >= LINE_EVERY),
        };
        due || step == self.total
    }

    fn say(&self, text: &str) {
        match &self.form {
            Form::Bar(bar) => bar.suspend(|| output::message(text)),
            _ => output::message(text),
        }
    }
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_bar} {msg}") {
        bar.set_style(style);
    }
    bar
}

/// A reader that has gone away does not end a run whose output is files.
fn send(value: &serde_json::Value) {
    let _ = output::json(value);
}

/// Time that steps of this process took.
#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    steps: u32,
    time: Duration,
}

impl Pace {
    fn add(&mut self, elapsed: Duration) {
        self.steps += 1;
        self.time += elapsed;
    }

    fn steps_per_second(self) -> Option<f64> {
        let seconds = self.time.as_secs_f64();
        (seconds > 0.0).then(|| f64::from(self.steps) / seconds)
    }
}

fn in_words(report: &StepReport, total: u64, pace: Pace) -> String {
    let StepReport { step, loss, rates, gradient_norm } = report;
    let rates: Vec<_> = rates.iter().map(|rate| format!("{rate:.2e}")).collect();
    let mut text = format!(
        "step {step} of {total}, loss {loss:.5}, lr {}, gradient {gradient_norm:.3}",
        rates.join(" ")
    );
    if let Some(rate) = pace.steps_per_second() {
        let left = total.saturating_sub(*step) as f64 / rate;
        text.push_str(&format!(", {rate:.2} steps/s, {} left", clock(left)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_loss_rates_pace_and_what_is_left() {
        let report =
            StepReport { step: 10, loss: 0.0312, rates: vec![4e-4, 5e-5], gradient_norm: 1.5 };
        let mut pace = Pace::default();
        assert_eq!(
            in_words(&report, 40, pace),
            "step 10 of 40, loss 0.03120, lr 4.00e-4 5.00e-5, gradient 1.500"
        );
        pace.add(Duration::from_secs(2));
        assert!(in_words(&report, 40, pace).ends_with(", 0.50 steps/s, 1:00 left"));
    }
}
