//! Processes that do one thing each and are told when: JSON lines over standard input and output.
//!
//! A process gets ready, says so, waits for a line, does what is measured, and says what it took. It stays until its
//! input closes, so that it can be looked at.

use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Failure;
use super::clients::Task;
use super::floors::Floor;
use super::measure::{Memory, Took, Watch, cpu_ms, own_pid};

/// What a process says when it is done.
#[derive(Debug, Serialize, Deserialize)]
pub struct Done {
    pub took: Took,
    /// Bytes of messages sent and received.
    pub wire: (u64, u64),
    pub memory: Memory,
    /// Whatever else the task measures.
    pub details: Value,
}

/// The process's own side of the conversation.
pub struct Gate;

impl Gate {
    /// Says that all is ready, waits for the word, and starts the clock.
    pub fn pass(&self) -> Result<Watch, Failure> {
        say(&"ready")?;
        wait_for_line()?;
        Ok(Watch::start())
    }
}

/// Says what it took, and waits until nobody needs the process any more.
pub fn done(took: Took, wire: (u64, u64), details: &impl Serialize) -> Result<(), Failure> {
    let memory = Memory::of(own_pid())?;
    say(&Done { took, wire, memory, details: serde_json::to_value(details)? })?;
    wait_for_line()
}

pub fn say(what: &impl Serialize) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", serde_json::to_string(what)?)?;
    Ok(out.flush()?)
}

pub fn wait_for_line() -> Result<(), Failure> {
    std::io::stdin().read_line(&mut String::new())?;
    Ok(())
}

/// A process, from the outside.
pub struct Running {
    child: Child,
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
}

impl Running {
    fn start(arguments: &[&str]) -> Result<Self, Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let output = child.stdout.take().ok_or("the process has no output")?;
        Ok(Self { input: child.stdin.take(), output: BufReader::new(output).lines(), child })
    }

    fn hear<T: DeserializeOwned>(&mut self) -> Result<T, Failure> {
        let line = self.output.next().ok_or("a process ended before it was done: its reason is above")??;
        Ok(serde_json::from_str(&line)?)
    }

    fn tell(&mut self) -> Result<(), Failure> {
        let input = self.input.as_mut().ok_or("the process takes no input")?;
        writeln!(input)?;
        Ok(input.flush()?)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Closes the process's input, which ends it.
    pub fn end(mut self) -> Result<(), Failure> {
        drop(self.input.take());
        match self.child.wait()? {
            status if status.success() => Ok(()),
            status => Err(format!("a process ended with {status}").into()),
        }
    }
}

/// Nothing is left behind if a measurement fails.
impl Drop for Running {
    fn drop(&mut self) {
        if self.input.is_some() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Starts a relay and returns it with its address.
pub fn start_relay(data: &Path) -> Result<(Running, String), Failure> {
    let mut relay = Running::start(&["relay", "--data", &data.display().to_string()])?;
    let url = relay.hear()?;
    Ok((relay, url))
}

/// Starts a relay that keeps to its default limits, and returns it with its address.
pub fn start_flooded_relay(data: &Path) -> Result<(Running, String), Failure> {
    let mut relay = Running::start(&["relay", "--limited", "--data", &data.display().to_string()])?;
    let url = relay.hear()?;
    Ok((relay, url))
}

/// Starts the echo of the floor, and returns it with its address.
pub fn start_echo() -> Result<(Running, String), Failure> {
    let mut echo = Running::start(&["client", &serde_json::to_string(&Task::Floor(Floor::EchoServer))?])?;
    let url = echo.hear()?;
    Ok((echo, url))
}

/// Starts a process for a task and waits until it is ready.
fn start_client(task: &Task) -> Result<Running, Failure> {
    let mut client = Running::start(&["client", &serde_json::to_string(task)?])?;
    let _ready: String = client.hear()?;
    Ok(client)
}

/// A measured span: the client's own words, and what the relay spent meanwhile.
pub struct Measured {
    pub done: Done,
    pub relay_cpu_ms: f64,
    pub relay_memory: Memory,
}

/// Runs a task in a process of its own, and looks at the relay before and after.
pub fn measure(task: &Task, relay: Option<&Running>) -> Result<Measured, Failure> {
    let mut client = start_client(task)?;
    let spent = |relay: Option<&Running>| relay.map_or(Ok(0.0), |relay| cpu_ms(relay.pid()));
    let before = spent(relay)?;
    client.tell()?;
    let done = client.hear()?;
    let relay_cpu_ms = spent(relay)? - before;
    let relay_memory = relay.map_or(Ok(Memory::default()), |relay| Memory::of(relay.pid()))?;
    client.tell()?;
    client.end()?;
    Ok(Measured { done, relay_cpu_ms, relay_memory })
}
