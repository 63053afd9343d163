//! The section `train`: loss, optimiser, schedule, steps.

use serde_json::{Value, json};
use vrt_kernels::Precision;

use super::section::{Kind, Section};

/// What is added up over a batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LossKind {
    /// mean |d|
    L1,
    /// mean d²
    L2,
    /// Σ d²
    L2Sum,
    /// mean √(d² + ε²)
    Charbonnier {
        /// ε², the number of `G_charbonnier_eps`.
        epsilon_squared: f64,
    },
    /// 1 − mean SSIM, 11×11 Gaussian of σ 1.5.
    Ssim,
}

/// Numbers of the optimiser.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adam {
    /// Decay of the mean and of the mean square of gradients.
    pub betas: [f64; 2],
    /// Factor on a parameter that is added to its gradient.
    pub weight_decay: f64,
}

/// Parameters with a learning rate of their own: those whose name contains one of the keys.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Slow {
    /// Parts of names (`fix_keys`); without any there is one group of parameters.
    pub keys: Vec<String>,
    /// Factor on the learning rate (`fix_lr_mul`).
    pub factor: f64,
    /// The first step that trains them (`fix_iter`); 0 is from the start.
    pub from_step: u64,
}

/// How learning rates change with the step.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    /// The shape.
    pub kind: ScheduleKind,
    /// Learning rate at step 0 (`G_optimizer_lr`).
    pub base: f64,
}

/// The shape of a schedule.
#[derive(Clone, Debug, PartialEq)]
pub enum ScheduleKind {
    /// × `gamma` from each milestone on.
    MultiStep {
        /// Steps.
        milestones: Vec<u64>,
        /// Factor.
        gamma: f64,
    },
    /// Half a cosine from the base to `eta_min`, again and again.
    CosineRestarts {
        /// Steps of the first period.
        period: u64,
        /// Each period is so many times as long as the one before.
        growth: u64,
        /// The lowest learning rate.
        eta_min: f64,
    },
}

/// How a network is trained.
#[derive(Clone, Debug, PartialEq)]
pub struct Train {
    /// What is made small.
    pub loss: LossKind,
    /// Factor on it.
    pub loss_weight: f64,
    /// Share of the old values in each new average of the weights; 0 keeps no average.
    pub ema_decay: f64,
    /// The optimiser.
    pub adam: Adam,
    /// Largest norm of all gradients together.
    pub clip_norm: Option<f64>,
    /// Pixels of the clip that the offset layers of a stage may ask for on average, the bound of
    /// offsets left out; without a limit nobody looks.
    pub offset_limit: Option<f64>,
    /// Parameters with a learning rate of their own.
    pub slow: Slow,
    /// Steps in all.
    pub total_steps: u64,
    /// Learning rates.
    pub schedule: Schedule,
    /// Steps between two trials on the test set.
    pub test_every: Option<u64>,
    /// Steps between two checkpoints.
    pub save_every: Option<u64>,
    /// Steps between two lines for a log.
    pub print_every: Option<u64>,
    /// Seed of all chance: first weights, order, crops, drop path.
    pub seed: u64,
    /// Parts that a batch goes through the network in.
    pub accumulate: usize,
    /// Numbers to compute with.
    pub precision: Precision,
    /// Whether devices of CUDA add up gradients between them, by NCCL.
    pub nccl: bool,
    /// Whole states of a run that are kept; older ones are removed.
    pub keep_states: usize,
}

/// Reads the section, and whether pretrained weights have to fit exactly.
pub(super) fn read(mut s: Section<'_>) -> (Train, [bool; 2]) {
    let (loss, loss_weight) = loss(&mut s);
    let ema_decay = ema_decay(&mut s);
    let (adam, clip_norm, base) = optimizer(&mut s);
    let total_steps = steps(&mut s, "total_iter", Some(500_000)).unwrap_or(1);
    let train = Train {
        loss,
        loss_weight,
        ema_decay,
        adam,
        clip_norm,
        offset_limit: offset_limit(&mut s),
        slow: slow(&mut s, total_steps),
        total_steps,
        schedule: Schedule { kind: schedule(&mut s), base },
        test_every: steps(&mut s, "checkpoint_test", None),
        save_every: steps(&mut s, "checkpoint_save", None),
        print_every: steps(&mut s, "checkpoint_print", None),
        seed: s.or("manual_seed", 0),
        accumulate: s.count("accumulate", Some(1)),
        precision: precision(&mut s),
        nccl: s.or("nccl", false),
        keep_states: s.count("keep_states", Some(2)),
    };
    s.unused("G_regularizer_orthstep", "weights are not regularised");
    s.unused("G_regularizer_clipstep", "weights are not regularised");
    s.unused("G_optimizer_reuse", "a run that goes on always has its optimiser's state");
    let strict = [s.or("G_param_strict", true), s.or("E_param_strict", true)];
    s.finish();
    (train, strict)
}

fn loss(s: &mut Section<'_>) -> (LossKind, f64) {
    let epsilon_squared = s.amount("G_charbonnier_eps", 1e-9);
    let kinds = [
        ("l1", LossKind::L1),
        ("l2", LossKind::L2),
        ("l2sum", LossKind::L2Sum),
        ("ssim", LossKind::Ssim),
        ("charbonnier", LossKind::Charbonnier { epsilon_squared }),
    ];
    let kind = s.choice("G_lossfn_type", &kinds, None).unwrap_or(LossKind::L1);
    if kind == (LossKind::Charbonnier { epsilon_squared: 0.0 }) {
        s.problem("G_charbonnier_eps", "is 0, where the loss has no gradient at equal pixels: write a small number such as 1e-9");
    }
    let weight = s.amount("G_lossfn_weight", 1.0);
    if weight == 0.0 {
        s.problem("G_lossfn_weight", "is 0, so nothing would be learnt: write a number above 0");
    }
    (kind, weight)
}

fn ema_decay(s: &mut Section<'_>) -> f64 {
    let decay = s.amount("E_decay", 0.0);
    if decay >= 1.0 {
        let what = format!("is {decay}: write a share below 1, such as 0.999, or 0 for no average");
        s.problem("E_decay", what);
    }
    decay
}

fn optimizer(s: &mut Section<'_>) -> (Adam, Option<f64>, f64) {
    s.choice("G_optimizer_type", &[("adam", ())], Some(()));
    let lr = s.needed("G_optimizer_lr", 1e-4);
    if !(lr > 0.0 && lr.is_finite()) {
        s.problem("G_optimizer_lr", format!("is {lr}: write a number above 0, such as 4e-4"));
    }
    let betas = s.or("G_optimizer_betas", [0.9, 0.999]);
    if !betas.iter().all(|beta| (0.0..1.0).contains(beta)) {
        s.problem("G_optimizer_betas", format!("is {betas:?}: both have to be from 0 to below 1"));
    }
    let weight_decay = s.amount("G_optimizer_wd", 0.0);
    let clip = s.amount("G_optimizer_clipgrad", 0.0);
    (Adam { betas, weight_decay }, (clip > 0.0).then_some(clip), lr)
}

/// `offset_limit`, 0 for none.
///
/// With the default an answer of an offset layer is 10 on average, at every stage: tanh of it is 1 to
/// the last bit of `f32`, and nothing is left of the gradient. Small networks that still learn were
/// seen to come to answers of 5 at high learning rates.
fn offset_limit(s: &mut Section<'_>) -> Option<f64> {
    let limit = s.amount("offset_limit", 100.0);
    (limit > 0.0).then_some(limit)
}

/// A number of steps, at least 1.
fn steps(s: &mut Section<'_>, key: &'static str, default: Option<u64>) -> Option<u64> {
    let steps = s.optional(key).or(default);
    if steps == Some(0) {
        s.problem(key, "is 0: write a number of steps from 1, or remove the key");
    }
    steps
}

fn slow(s: &mut Section<'_>, total: u64) -> Slow {
    let keys: Vec<String> = s.or("fix_keys", Vec::new());
    let factor = s.amount("fix_lr_mul", 1.0);
    // Published files say −1 for never.
    let from_step = s.or("fix_iter", 0_i64).max(0).unsigned_abs();
    if keys.iter().any(String::is_empty) {
        s.problem("fix_keys", "has an empty text in it, which is part of every name: remove it");
    }
    if keys.is_empty() {
        let given = s.optional::<f64>("fix_lr_mul").is_some() || from_step > 0;
        if given {
            let name = s.name("fix_keys");
            s.findings.note(&name, "is empty, so fix_iter and fix_lr_mul change nothing");
        }
        return Slow { keys, factor: 1.0, from_step: 0 };
    }
    if from_step > total {
        let name = s.name("fix_iter");
        let why = format!(
            "{from_step} is beyond the last step {total} (train.total_iter): fix_keys stay frozen"
        );
        s.findings.note(&name, why);
    }
    Slow { keys, factor, from_step }
}

fn schedule(s: &mut Section<'_>) -> ScheduleKind {
    let cosine = s.choice(
        "G_scheduler_type",
        &[("MultiStepLR", false), ("CosineAnnealingWarmRestarts", true)],
        None,
    );
    let cosine = cosine.unwrap_or(true);
    let milestones: Option<Vec<u64>> = s.optional("G_scheduler_milestones");
    let gamma = s.amount("G_scheduler_gamma", 0.5);
    let period: Option<u64> = s.optional("G_scheduler_periods");
    let growth = s.or("G_scheduler_restart_weights", 1);
    let eta_min = s.amount("G_scheduler_eta_min", 0.0);
    let idle: &[&'static str] = match cosine {
        true => &["G_scheduler_milestones", "G_scheduler_gamma"],
        false => &["G_scheduler_periods", "G_scheduler_restart_weights", "G_scheduler_eta_min"],
    };
    for key in idle {
        s.unused(key, "the schedule G_scheduler_type does not look at it");
    }
    if !cosine {
        if milestones.is_none() {
            let what = format!("is missing: MultiStepLR needs {}", <Vec<u64>>::WHAT);
            s.problem("G_scheduler_milestones", what);
        }
        return ScheduleKind::MultiStep { milestones: milestones.unwrap_or_default(), gamma };
    }
    if period.is_none_or(|period| period == 0) {
        let what =
            "is missing or 0: write the steps of a period, as many as train.total_iter for one";
        s.problem("G_scheduler_periods", what);
    }
    if growth == 0 {
        s.problem(
            "G_scheduler_restart_weights",
            "is 0: write how many times as long each period is, from 1",
        );
    }
    ScheduleKind::CosineRestarts {
        period: period.unwrap_or(1).max(1),
        growth: growth.max(1),
        eta_min,
    }
}

fn precision(s: &mut Section<'_>) -> Precision {
    let names = [("f32", Precision::F32), ("bf16", Precision::Bf16)];
    s.choice("precision", &names, Some(Precision::F32)).unwrap_or_default()
}

impl Train {
    /// The section that [`read`] takes; `strict` as it gives it.
    pub(super) fn to_json(&self, [strict, averaged_strict]: [bool; 2]) -> Value {
        let mut section = json!({
            "G_lossfn_weight": self.loss_weight,
            "E_decay": self.ema_decay,
            "G_optimizer_type": "adam",
            "G_optimizer_lr": self.schedule.base,
            "G_optimizer_betas": self.adam.betas,
            "G_optimizer_wd": self.adam.weight_decay,
            "G_optimizer_clipgrad": self.clip_norm,
            "offset_limit": self.offset_limit.unwrap_or(0.0),
            "fix_keys": self.slow.keys,
            "fix_lr_mul": self.slow.factor,
            "fix_iter": self.slow.from_step,
            "total_iter": self.total_steps,
            "checkpoint_test": self.test_every,
            "checkpoint_save": self.save_every,
            "checkpoint_print": self.print_every,
            "manual_seed": self.seed,
            "accumulate": self.accumulate,
            "precision": self.precision.to_string(),
            "nccl": self.nccl,
            "keep_states": self.keep_states,
            "G_param_strict": strict,
            "E_param_strict": averaged_strict,
        });
        section["G_lossfn_type"] = match self.loss {
            LossKind::L1 => "l1",
            LossKind::L2 => "l2",
            LossKind::L2Sum => "l2sum",
            LossKind::Ssim => "ssim",
            LossKind::Charbonnier { epsilon_squared } => {
                section["G_charbonnier_eps"] = epsilon_squared.into();
                "charbonnier"
            }
        }
        .into();
        match &self.schedule.kind {
            ScheduleKind::MultiStep { milestones, gamma } => {
                section["G_scheduler_type"] = "MultiStepLR".into();
                section["G_scheduler_milestones"] = milestones.clone().into();
                section["G_scheduler_gamma"] = (*gamma).into();
            }
            ScheduleKind::CosineRestarts { period, growth, eta_min } => {
                section["G_scheduler_type"] = "CosineAnnealingWarmRestarts".into();
                section["G_scheduler_periods"] = (*period).into();
                section["G_scheduler_restart_weights"] = (*growth).into();
                section["G_scheduler_eta_min"] = (*eta_min).into();
            }
        }
        section
    }
}
