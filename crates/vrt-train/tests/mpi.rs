//! Two processes under `mpirun`: this program starts itself as their ranks, and asks how they end.

#[path = "support/small.rs"]
mod small;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, exit};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use burn::tensor::Device;
use serde_json::Value;
use small::{small, write_batch};
use vrt_train::Recipe;
use vrt_train::ranks::launch::{Launcher, detect};
use vrt_train::ranks::mpi::Mpi;
use vrt_train::ranks::{Collective, CollectiveError, Single};
use vrt_train::trainer::{Event, RunOptions, Summary, train};

const RANKS: usize = 2;
/// Names what the ranks do; set for them only.
const PART: &str = "VRT_TEST_RANKS";
/// The folder that they train in.
const FOLDER: &str = "VRT_TEST_FOLDER";
/// Steps of a run.
const STEPS: u64 = 10;
/// Behind this step a rank is lost.
const LOST: u64 = 5;
/// Longer than any test takes: a rank that waits for a dead one would wait for ever.
const LATE: Duration = Duration::from_secs(60);

fn main() {
    match std::env::var(PART).as_deref() {
        Ok("meet") => meet(),
        Ok("differ") => differ(),
        Ok("die") => die(|_| std::process::abort()),
        Ok("leave") => die(|_| exit(3)),
        Ok("abandon") => die(|mpi| {
            eprintln!("a rank that gives up");
            mpi.abandon(4);
        }),
        Ok("panic") => die(|_| panic!("a rank that panics")),
        Ok("train") => drop(run("together", 1, false, Arc::new(start()), &|_, _| ())),
        Ok("lose") => drop(run("lost", 1, false, Arc::new(start()), &|rank, step| {
            if (rank, step) == (1, LOST) {
                std::process::abort();
            }
        })),
        Ok(part) => panic!("{PART} is {part}, which no test is"),
        Err(_) => all(),
    }
}

/// Every test, with ranks that are processes.
fn all() {
    if Command::new("mpirun").arg("--version").output().is_err() {
        eprintln!("SKIPPED: mpirun is not installed");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder for runs");
    write_batch(&folder.path().join("batch.safetensors"), 4, &[]);
    COMMON.set(folder.path().to_path_buf()).expect("set once");
    succeeds("meet");
    succeeds("differ");
    trains();
    loses();
    ends("die", "exited on signal 6");
    ends("leave", "exited with non-zero status");
    ends("abandon", "a rank that gives up");
    ends("panic", "a rank that panics");
    alone();
}

/// Runs a part on all ranks.
fn ranks(part: &str) -> Output {
    let program = std::env::current_exe().expect("this program has a path");
    let mut command = Command::new("mpirun");
    command.args(["--allow-run-as-root", "--oversubscribe", "-n", &RANKS.to_string()]);
    command.arg(program).env(PART, part).env(FOLDER, folder()).output().expect("mpirun starts")
}

/// Where runs are: as the process that starts ranks has it, and tells them.
static COMMON: OnceLock<PathBuf> = OnceLock::new();

fn folder() -> PathBuf {
    let given = std::env::var_os(FOLDER).map(PathBuf::from);
    given.or_else(|| COMMON.get().cloned()).expect("there is a folder for runs")
}

/// Trains a small network on a batch of four clips, in so many parts.
fn run(
    name: &str,
    parts: u64,
    resume: bool,
    ranks: Arc<dyn Collective>,
    on_step: &dyn Fn(usize, u64),
) -> Summary {
    let mut options = small(&folder().join("batch.safetensors"), STEPS);
    options["datasets"]["train"]["dataloader_batch_size"] = 4.into();
    options["train"]["accumulate"] = parts.into();
    options["train"]["checkpoint_save"] = 2.into();
    // Adam's first steps are as large as the rate, whatever the gradient: a larger one turns the last
    // bits of sums in another order into other losses.
    options["train"]["G_optimizer_lr"] = 1e-5.into();
    let recipe = Recipe::parse(Path::new("options.json"), &options.to_string(), &[]);
    let rank = ranks.rank();
    let (folder, device) = (folder().join(name), Device::flex());
    let stop = Arc::new(AtomicBool::new(false));
    let options = RunOptions { folder, resume, device, stop, ranks, linked: Vec::new() };
    let summary = train(&recipe.expect("a recipe").recipe, &options, &mut |event| {
        if let Event::Step { report, .. } = event {
            on_step(rank, report.step);
        }
    });
    summary.expect("it trains")
}

/// The loss of every step of a run.
fn losses(name: &str) -> Vec<f64> {
    let text =
        std::fs::read_to_string(folder().join(name).join("journal.jsonl")).expect("a journal");
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    lines.filter_map(|line| line["step"].as_u64().and(line["loss"].as_f64())).collect()
}

/// The weights that a run ends with.
fn weights(name: &str) -> Vec<u8> {
    std::fs::read(folder().join(name).join("models/10_G.pth")).expect("weights are saved")
}

/// Two ranks make the weights that one process makes of the same parts, and the losses of one with
/// the whole batch.
fn trains() {
    succeeds("train");
    for (name, parts) in [("parts", 2), ("whole", 1)] {
        run(name, parts, false, Arc::new(Single), &|_, _| ());
    }
    assert!(weights("together") == weights("parts"), "the weights differ");
    let (together, whole) = (losses("together"), losses("whole"));
    assert_eq!((together.len(), whole.len()), (STEPS as usize, STEPS as usize));
    for (step, (together, whole)) in together.iter().zip(&whole).enumerate() {
        assert!((together - whole).abs() <= 1e-5 * whole, "step {step}: {together} {whole}");
    }
}

/// Where a rank is lost, the other one ends, and the newest state is one to go on from.
fn loses() {
    ends("lose", "exited on signal 6");
    let state = folder().join("lost/states").join(format!("{}.safetensors", LOST - 1));
    assert!(state.is_file(), "{state:?} was not saved");
    let summary = run("lost", 2, true, Arc::new(Single), &|_, _| ());
    assert_eq!(summary.step, STEPS);
    assert!(weights("lost") == weights("parts"), "the run that goes on is another one");
}

/// All ranks end well.
fn succeeds(part: &str) {
    let output = ranks(part);
    assert!(output.status.success(), "{part}: {}", String::from_utf8_lossy(&output.stderr));
    eprintln!("{part}: ok");
}

/// All ranks end, and the user is told why.
fn ends(part: &str, message: &str) {
    let output = ranks(part);
    let told = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(!output.status.success(), "{part}: mpirun ended well");
    assert!(told.contains(message), "{part}: {message:?} is not in {told}");
    eprintln!("{part}: ok");
}

/// A process that torchrun has started sees no others through MPI, and says what to do.
fn alone() {
    let said = [
        ("RANK", "1"),
        ("WORLD_SIZE", "2"),
        ("LOCAL_RANK", "1"),
        ("MASTER_ADDR", "localhost"),
        ("MASTER_PORT", "29500"),
    ];
    let launch = detect(|name| said.iter().find(|(n, _)| *n == name).map(|(_, v)| v.into()));
    let launch = launch.expect("these variables are complete");
    let error = Mpi::start(launch.as_ref()).expect_err("MPI sees one process");
    let expected = "torchrun says that this is rank 1 of 2, MPI that it is rank 0 of 1: start the \
                    ranks with mpirun, or with srun --mpi=pmix on SLURM";
    assert_eq!(error.to_string(), expected);
    eprintln!("alone: ok");
}

/// Joins the others as the launcher says.
fn start() -> Mpi {
    let launch = detect(std::env::var_os).expect("mpirun's variables are complete");
    let launch = launch.expect("mpirun has started this process");
    assert_eq!((launch.launcher(), launch.size()), (Launcher::OpenMpi, RANKS));
    let mpi = Mpi::start(Some(&launch)).expect("MPI agrees with its launcher");
    let again = Mpi::start(None).expect_err("MPI starts once");
    assert_eq!(again, CollectiveError::StartedBefore);
    mpi
}

/// Sums of several chunks, and broadcasts from either rank.
fn meet() {
    let mpi = start();
    let rank = mpi.rank();
    let len = (1 << 22) + 5;
    let value = |rank: usize, i: usize| (i % 4093) as f32 * 0.1 + rank as f32;
    let mut values: Vec<f32> = (0..len).map(|i| value(rank, i)).collect();
    mpi.sum(&mut values).expect("all sum");
    let wrong = (0..len).find(|i| values[*i] != value(0, *i) + value(1, *i));
    assert_eq!(wrong, None, "rank {rank}: the first wrong sum");
    for root in 0..RANKS {
        let mut values: Vec<f32> = (0..len).map(|i| value(rank, i)).collect();
        mpi.broadcast(&mut values, root).expect("all take part");
        let wrong = (0..len).find(|i| values[*i] != value(root, *i));
        assert_eq!(wrong, None, "rank {rank}: the first value that is not of rank {root}");
    }
    mpi.sum(&mut []).expect("nothing is summed");
    mpi.barrier().expect("all come");
    // From another thread than the one that has started MPI.
    std::thread::scope(|scope| scope.spawn(|| mpi.barrier()).join())
        .expect("the thread ends")
        .expect("all come");
}

/// Sums of two lengths are an error on both ranks, which can then go on.
fn differ() {
    let mpi = start();
    let error = mpi.sum(&mut vec![0.0; 4 + mpi.rank()]).expect_err("lengths differ");
    let start = "rank 1 adds up 5 values where rank 0 adds up 4 values";
    assert!(error.to_string().starts_with(start), "{error}");
    let error = mpi.broadcast(&mut [0.0], RANKS).expect_err("there is no such rank");
    assert_eq!(error, CollectiveError::NoSuchRank { root: RANKS, size: RANKS });
    mpi.barrier().expect("all come");
}

/// Rank 1 ends in the middle of a run, rank 0 waits for its values.
fn die(end: impl Fn(&Mpi)) {
    let mpi = start();
    mpi.barrier().expect("all come");
    if mpi.rank() == 1 {
        end(&mpi);
    }
    std::thread::spawn(|| {
        std::thread::sleep(LATE);
        exit(0);
    });
    let summed = mpi.sum(&mut [1.0; 8]);
    panic!("rank 0 was not ended: {summed:?}");
}
