//! The client's machine, and how busy it is.

use std::fs;
use std::process::Command;
use std::thread::available_parallelism;

/// Describes the processor, the system and the compiler. A debug build is named, because its figures
/// are not those of the drivers.
pub fn describe() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    let cpu = match cpu {
        Some(cpu) => cpu.trim_start_matches(['\t', ':', ' ']).to_owned(),
        None => output("sysctl", &["-n", "machdep.cpu.brand_string"]),
    };
    let cores = available_parallelism().map_or(0, usize::from);
    let (system, rustc) = (output("uname", &["-srm"]), output("rustc", &["--version"]));
    let build = if cfg!(debug_assertions) {
        ", debug build"
    } else {
        ""
    };
    format!("{cpu}, {cores} cores, {system}, {rustc}{build}")
}

/// Returns the average number of running processes in the last minute.
pub fn load() -> String {
    let load = fs::read_to_string("/proc/loadavg");
    let load = load.unwrap_or_else(|_| output("sysctl", &["-n", "vm.loadavg"]));
    let mut words = load.split_whitespace().filter(|word| *word != "{");
    words.next().unwrap_or_default().to_owned()
}

/// Returns what a command prints, or nothing if it fails.
fn output(command: &str, arguments: &[&str]) -> String {
    let output = Command::new(command).args(arguments).output();
    let text = output.map_or(Vec::new(), |output| output.stdout);
    String::from_utf8_lossy(&text).trim().to_owned()
}
