//! Comparisons as pages, looked at in a browser.

use std::path::{Path, PathBuf};

use base64::prelude::{BASE64_STANDARD, Engine};
use serde_json::Value;
use vrt_video::Frame;

use crate::browser::Browser;
use crate::{Bench, carphone, frames_of, text};

/// Pixels of the stage that are not looked at: names at the top, the handle of the wipe.
const TAGS: f64 = 50.0;
const HANDLE: f64 = 22.0;

/// A place and size in a window.
#[derive(Clone, Copy, Debug)]
struct Area {
    left: f64,
    top: f64,
    width: f64,
    height: f64,
}

/// A copy of a page with one more script at its end, which leaves what it finds in `#found`.
fn with_script(page: &Path, script: &str) -> PathBuf {
    let html = std::fs::read_to_string(page).unwrap();
    let (before, after) = html.rsplit_once("</body>").unwrap();
    let more = format!(
        "<pre id=\"found\"></pre><script>window.addEventListener('load', async () => {{
            const pause = () => new Promise((done) => setTimeout(done, 500));
            const byId = (id) => document.getElementById(id);
            const found = {{}};
            {script}
            byId('found').textContent = btoa(unescape(encodeURIComponent(JSON.stringify(found))));
        }});</script>"
    );
    let copy = page.with_extension("tested.html");
    std::fs::write(&copy, format!("{before}{more}</body>{after}")).unwrap();
    copy
}

/// What such a script found.
fn found(browser: &Browser, page: &Path, fragment: &str, script: &str) -> Value {
    let dom = browser.dom(&with_script(page, script), fragment);
    assert!(dom.contains(r#"<p id="error" role="alert" hidden=""></p>"#), "an error: {dom:.3000}");
    let (_, rest) = dom.split_once("<pre id=\"found\">").unwrap();
    let coded = rest.split_once("</pre>").unwrap().0;
    serde_json::from_slice(&BASE64_STANDARD.decode(coded).unwrap()).unwrap()
}

fn stage(browser: &Browser, page: &Path) -> Area {
    let script = "const box = byId('stage').getBoundingClientRect();
        found.high = innerHeight;
        found.area = [box.left, box.top, box.width, box.height];";
    let found = found(browser, page, "", script);
    let side = |place: usize| found["area"][place].as_f64().unwrap();
    let area = Area { left: side(0), top: side(1), width: side(2), height: side(3) };
    let high = found["high"].as_f64().unwrap();
    assert!(area.height < 0.6 * high, "the window bounds the stage: {area:?} of {high}");
    area
}

/// A view of a page, as its fragment says.
#[derive(Clone, Copy, Debug)]
struct View {
    frame: usize,
    wipe: f64,
    zoom: f64,
    at: (f64, f64),
}

impl View {
    fn fragment(&self) -> String {
        let Self { frame, wipe, zoom, at: (x, y) } = self;
        format!("frame={frame}&wipe={wipe}&zoom={zoom}&x={x}&y={y}")
    }

    /// Mean differences in steps of 255 between what is seen left and right of the line, and
    /// `clip` at the same places; `None` where nothing is seen.
    fn differences(&self, seen: &Frame, stage: Area, clip: &Frame) -> [Option<f64>; 2] {
        let mut sums = [(0.0, 0usize); 2];
        // The picture covers the whole stage, or lies in its middle.
        let shown = (clip.width() as f64 * self.zoom).min(stage.width);
        let line = stage.left + (stage.width - shown) / 2.0 + self.wipe * shown;
        for (x, y) in (0..clip.width()).flat_map(|x| (0..clip.height()).map(move |y| (x, y))) {
            let right = (x as f64 + 0.5 - self.at.0) * self.zoom + stage.width / 2.0;
            let down = (y as f64 + 0.5 - self.at.1) * self.zoom + stage.height / 2.0;
            let inside = (2.0..stage.width - 2.0).contains(&right)
                && (TAGS..stage.height - 2.0).contains(&down);
            let (right, down) = (right + stage.left, down + stage.top);
            if !inside || (right - line).abs() < HANDLE {
                continue;
            }
            let sum = &mut sums[usize::from(right > line)];
            let at = 3 * (down as usize * seen.width() + right as usize);
            let pixel = 3 * (y * clip.width() + x);
            for (a, b) in seen.samples()[at..at + 3].iter().zip(&clip.samples()[pixel..pixel + 3]) {
                sum.0 += 255.0 * f64::from((a - b).abs());
                sum.1 += 1;
            }
        }
        sums.map(|(sum, count)| (count > 0).then(|| sum / count as f64))
    }
}

/// A page of every frame of the real clips.
fn page_of_carphone(bench: &Bench, [distorted, pristine]: &[PathBuf; 2]) -> PathBuf {
    let (bad, good) = (text(distorted), text(pristine));
    let arguments = [bad, good, "--truth", good, "--frames", "120", "-o", "look.html"];
    bench.compare(&[&arguments[..], &["--names", "bad,good"]].concat()).succeeded();
    bench.path("look.html")
}

#[test]
fn what_is_seen_are_the_pixels_of_the_frames() {
    let (Some(clips), Some(browser)) = (carphone(), Browser::find()) else { return };
    let bench = Bench::new();
    let page = page_of_carphone(&bench, &clips);
    let stage = stage(&browser, &page);
    let [bad, good] = clips.map(|clip| frames_of(&clip));
    let middle = (88.0, 72.0);
    for view in [
        View { frame: 2, wipe: 1.0, zoom: 4.0, at: middle },
        View { frame: 2, wipe: 0.0, zoom: 4.0, at: middle },
        View { frame: 60, wipe: 0.25, zoom: 3.0, at: middle },
        View { frame: 117, wipe: 0.6, zoom: 16.0, at: (100.0, 50.0) },
    ] {
        let seen = browser.screenshot(&page, &view.fragment());
        let [left, _] = view.differences(&seen, stage, &bad[view.frame]);
        let [_, right] = view.differences(&seen, stage, &good[view.frame]);
        assert_eq!(left.is_some(), view.wipe > 0.0, "{view:?}");
        assert_eq!(right.is_some(), view.wipe < 1.0, "{view:?}");
        // Within what JPEG loses, and by far nearer than the other clip or another frame.
        for own in [left, right].into_iter().flatten() {
            assert!(own < 3.0, "{view:?}: {own}");
        }
        let other_frame = (view.frame + 30) % 120;
        let others = [
            (left, view.differences(&seen, stage, &good[view.frame])[0]),
            (right, view.differences(&seen, stage, &bad[view.frame])[1]),
            (right, view.differences(&seen, stage, &good[other_frame])[1]),
        ];
        for (own, other) in others {
            assert!(own.zip(other).is_none_or(|(own, other)| 2.0 * own < other), "{view:?}");
        }
    }
}

#[test]
fn scores_stand_in_tables_and_plots() {
    let (Some(clips), Some(browser)) = (carphone(), Browser::find()) else { return };
    let bench = Bench::new();
    let page = page_of_carphone(&bench, &clips);
    let script = "
        found.rows = [...document.querySelectorAll('#clips tbody tr')].map((row) => [...row.cells].map((cell) => cell.textContent));
        found.plots = [...document.querySelectorAll('#plots svg')].map((svg) => svg.getAttribute('aria-label'));
        found.points = [...document.querySelectorAll('#plots path')].map((path) => path.getAttribute('d').split('L').length);
        found.unnamed = [...document.querySelectorAll('button, select, input, [role=slider]')].filter((it) =>
            !(it.getAttribute('aria-label') || it.textContent.trim() || it.labels?.length)).length;
        found.requests = performance.getEntriesByType('resource').filter((it) => !it.name.startsWith('data:')).length;";
    let found = found(&browser, &page, "frame=7", script);
    let [bad, good] = clips.map(|clip| frames_of(&clip));
    let psnr: Vec<f64> =
        good.iter().zip(&bad).map(|(good, bad)| vrt_video::psnr(good, bad).unwrap()).collect();
    let mean = psnr.iter().sum::<f64>() / psnr.len() as f64;
    let rows = &found["rows"];
    assert_eq!(
        (&rows[0][0], &rows[1][0], &rows[2][0]),
        (&"bad".into(), &"good".into(), &"truth".into())
    );
    assert_eq!(rows[0][1], format!("{mean:.2}"));
    assert_eq!(rows[0][5], format!("{:.2}", psnr[7]));
    assert_eq!((&rows[1][1], &rows[1][2]), (&"∞".into(), &"1.0000".into()));
    assert_eq!(rows[2][1], "–");
    assert_eq!(found["plots"].as_array().unwrap().len(), 2);
    assert!(found["plots"][0].as_str().unwrap().contains(&format!("bad {mean:.2}")), "{found}");
    assert_eq!(found["points"], serde_json::json!([120, 120, 120, 120]));
    assert_eq!((&found["unnamed"], &found["requests"]), (&0.into(), &0.into()));
}

/// Uses the page as a person does, and tells after each step what the address says.
const HANDS: &str = "
    const stage = byId('stage');
    const box = stage.getBoundingClientRect();
    const address = async (name) => { await pause(); found[name] = location.hash; };
    const key = (target, key, more = {}) => target.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true, ...more }));
    const pointer = (kind, target, id, x, y) => target.dispatchEvent(new PointerEvent(kind, {
        pointerId: id, clientX: box.left + x * box.width, clientY: box.top + y * box.height, button: 0, bubbles: true }));
    const drag = (target, from, to) => {
        pointer('pointerdown', target, 1, ...from);
        pointer('pointermove', target, 1, ...to);
        pointer('pointerup', target, 1, ...to);
    };
    const right = byId('right');
    await address('start');
    key(document.body, 'ArrowRight'); key(document.body, 'ArrowRight'); key(document.body, 'ArrowLeft');
    await address('stepped');
    byId('next').click(); byId('next').click(); byId('previous').click();
    await address('clicked');
    byId('position').value = '40'; byId('position').dispatchEvent(new Event('input'));
    await address('slid');
    key(byId('wipe'), 'ArrowLeft');
    await address('wiped');
    key(document.body, 'End');
    await address('ended');
    key(document.body, 's');
    await address('swapped');
    right.value = '2'; right.dispatchEvent(new Event('change'));
    await address('chosen');
    drag(stage, [0.5, 0.5], [0.5, 0.6]);
    await address('dragged');
    byId('actual').click();
    await address('actual');
    for (let i = 0; i < 20; i += 1) key(document.body, '+');
    await address('enlarged');
    drag(stage, [0.3, 0.5], [0.4, 0.5]);
    await address('panned');
    drag(byId('wipe'), [0.5, 0.5], [0.75, 0.5]);
    await address('line');
    stage.dispatchEvent(new WheelEvent('wheel', { deltaY: 100, clientX: box.left + 5, clientY: box.top + 5, cancelable: true, bubbles: true }));
    await address('wheeled');
    pointer('pointerdown', stage, 1, 0.4, 0.5); pointer('pointerdown', stage, 2, 0.6, 0.5);
    pointer('pointermove', stage, 2, 0.8, 0.5);
    pointer('pointerup', stage, 1, 0.4, 0.5); pointer('pointerup', stage, 2, 0.8, 0.5);
    await address('pinched');
    key(document.body, '0');
    await address('fitted');
    const plot = document.querySelector('#plots svg').getBoundingClientRect();
    const pick = (frame) => document.querySelector('#plots svg').dispatchEvent(new MouseEvent('click', {
        clientX: plot.left + 48 + (plot.width - 58) * frame / 119, clientY: plot.top + 50, bubbles: true }));
    const label = () => byId('play').getAttribute('aria-label');
    const playing = async () => {
        const before = location.hash;
        for (let i = 0; i < 20 && location.hash === before; i += 1) await pause();
    };
    pick(30);
    await address('plotted');
    key(document.body, ' ');
    found.label = label();
    await playing();
    await address('played');
    byId('play').click();
    await address('paused');
    await address('still');
    key(byId('play'), 'Home');
    await address('first');
    key(byId('position'), ' ');
    found.spaced = label();
    await playing();
    pick(60);
    found.picked = label();
    await address('picked_at');
    byId('play').click();
    location.hash = '#frame=3&wipe=0.125&zoom=4&x=20&y=30&a=1&b=1';
    await address('told');
    found.halted = label();
    found.shown = [byId('left').value, right.value, byId('frame').textContent, byId('zoom').textContent, byId('wipe').getAttribute('aria-valuenow')];
    location.hash = '#frame=1e9&wipe=-3&zoom=NaN&x=a&a=77&b=-1';
    await address('nonsense');
";

fn part(found: &Value, step: &str, name: &str) -> Option<f64> {
    let address = found[step].as_str().unwrap().trim_start_matches('#');
    let value = address.split('&').find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
    value.map(|value| value.parse().unwrap())
}

#[test]
fn keys_mouse_and_fingers_change_the_view_and_the_address() {
    let (Some(clips), Some(browser)) = (carphone(), Browser::find()) else { return };
    let bench = Bench::new();
    let page = page_of_carphone(&bench, &clips);
    let found = found(&browser, &page, "", HANDS);
    let get = |step: &str, name: &str| part(&found, step, name);
    assert_eq!(found["start"], "#frame=0&wipe=0.5&a=0&b=1");
    assert_eq!(get("stepped", "frame"), Some(1.0));
    assert_eq!(get("clicked", "frame"), Some(2.0));
    assert_eq!(get("slid", "frame"), Some(40.0));
    assert_eq!((get("wiped", "wipe"), get("wiped", "frame")), (Some(0.48), Some(40.0)));
    assert_eq!(get("ended", "frame"), Some(119.0));
    assert_eq!((get("swapped", "a"), get("swapped", "b")), (Some(1.0), Some(0.0)));
    assert_eq!((get("chosen", "a"), get("chosen", "b")), (Some(1.0), Some(2.0)));
    assert_eq!((get("dragged", "wipe"), get("dragged", "zoom")), (Some(0.5), None));
    assert_eq!(get("actual", "zoom"), Some(1.0));
    assert_eq!(get("enlarged", "zoom"), Some(64.0));
    let moved = get("enlarged", "x").unwrap() - get("panned", "x").unwrap();
    assert!((1.0..2.0).contains(&moved), "a tenth of the stage at 64: {moved}");
    assert_eq!(get("panned", "y"), get("enlarged", "y"));
    assert_eq!((get("line", "wipe"), get("line", "x")), (Some(0.75), get("panned", "x")));
    assert_eq!(get("wheeled", "zoom"), Some(51.2));
    assert!(get("wheeled", "x") > get("line", "x"), "what is under the mouse stays");
    assert_eq!(get("pinched", "zoom"), Some(64.0), "twice as large, but no larger than can be");
    assert_eq!(get("fitted", "zoom"), None);
    assert_eq!(get("plotted", "frame"), Some(30.0));
    assert!(get("played", "frame") > Some(30.0), "{}", found["played"]);
    assert_eq!((&found["label"], &found["still"]), (&"Pause".into(), &found["paused"]));
    assert_eq!(get("first", "frame"), Some(0.0), "a button leaves this key to the page");
    assert_eq!(found["spaced"], "Pause", "the slider leaves this key to the page");
    assert_eq!((&found["picked"], get("picked_at", "frame")), (&"Play".into(), Some(60.0)));
    assert_eq!(found["halted"], "Play", "an address that is told is not played away");
    assert_eq!(found["shown"], serde_json::json!(["1", "1", "frame 3 / 119", "400 %", "13"]));
    assert_eq!(found["told"], "#frame=3&wipe=0.125&zoom=4&x=20&y=30&a=1&b=1");
    assert_eq!(found["nonsense"], "#frame=119&wipe=0&a=2&b=0");
}

#[test]
fn a_name_is_never_part_of_the_page() {
    let Some(browser) = Browser::find() else { return };
    let bench = Bench::new();
    let evil = "<img src=x onerror=window.owned=1>";
    bench.folder_of(evil, 2, (16, 16), 1);
    bench.folder_of("b", 2, (16, 16), 2);
    let broken = "</script><script>window.owned=2</script><!--";
    let attribute = "\" onfocus=window.owned=3 autofocus x=\"{{script}}";
    let script = "
        found.owned = window.owned ?? 0;
        found.images = document.images.length;
        found.scripts = document.scripts.length;
        found.names = [...byId('left').options].map((option) => option.textContent);
        found.title = document.title;";
    for (names, expected) in
        [(None, [evil, "b"]), (Some(format!("{broken},{attribute}")), [broken, attribute])]
    {
        let mut arguments = vec![evil, "b", "--truth", evil, "-o", "out.html", "--overwrite"];
        if let Some(names) = &names {
            arguments.extend(["--names", names]);
        }
        bench.compare(&arguments).succeeded();
        let found = found(&browser, &bench.path("out.html"), "", script);
        assert_eq!((&found["owned"], &found["images"]), (&0.into(), &0.into()));
        assert_eq!(found["scripts"], 4, "three of the page, one of the test");
        assert_eq!(found["names"][0], expected[0]);
        assert_eq!(found["names"][1], expected[1]);
        assert!(found["title"].as_str().unwrap().starts_with(expected[0]), "{}", found["title"]);
    }
}

#[test]
fn a_smaller_clip_covers_the_larger_one() {
    let Some(browser) = Browser::find() else { return };
    let bench = Bench::new();
    bench.folder_of("small", 1, (40, 30), 1);
    bench.folder_of("large", 1, (80, 60), 2);
    let arguments = ["small", "large", "-o", "out.html", "--lossless"];
    bench.compare(&arguments).succeeded();
    let page = bench.path("out.html");
    let stage = stage(&browser, &page);
    let view = View { frame: 0, wipe: 0.5, zoom: 8.0, at: (40.0, 30.0) };
    let seen = browser.screenshot(&page, &view.fragment());
    let [_, right] = view.differences(&seen, stage, &frames_of(&bench.path("large"))[0]);
    assert_eq!(right, Some(0.0));
    let small = View { zoom: 16.0, at: (20.0, 15.0), ..view };
    let [left, _] = small.differences(&seen, stage, &frames_of(&bench.path("small"))[0]);
    assert_eq!(left, Some(0.0));
}

#[test]
fn pages_stay_within_their_size_and_say_what_is_left_out() {
    let Some([distorted, pristine]) = carphone() else { return };
    let bench = Bench::new();
    let clips = [text(&distorted), text(&pristine)];
    let flags = ["-o", "out.html", "--frames", "120", "--max-mb", "1", "--lossless"];
    let ran = bench.compare(&[&clips[..], &flags].concat());
    let noted = ran.stderr.clone();
    let said = ran.succeeded();
    assert!(noted.contains("instead of 120") && noted.contains("1 MB"), "{noted}");
    let size = std::fs::metadata(bench.path("out.html")).unwrap().len();
    assert!((500_000..1_100_000).contains(&size), "{size}");
    let shown: u32 = said.split([' ', ',']).nth(3).unwrap().parse().unwrap();
    assert!((5..60).contains(&shown), "{said}");
    let html = std::fs::read_to_string(bench.path("out.html")).unwrap();
    assert_eq!(html.matches("data:image/png;base64,").count(), 2 * shown as usize);
}
