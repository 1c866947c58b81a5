//! Settings: a flag wins over the environment, that over the file, that over the default.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use lamppost_core::base::GroupId;
use lamppost_core::base::ids::NotAnId;
use serde::{Deserialize, Serialize};

use crate::relay::Rules;

/// The blind relay of Lamppost: keeps and forwards what watch groups' phones sign and encrypt.
///
/// Put TLS in front of it, and give the group's coordinators its address and its relay id.
#[derive(Debug, Parser)]
#[command(name = "lamppost-relay", version)]
pub struct CommandLine {
    /// Settings as TOML; keys are the names of the flags with underscores.
    #[arg(long, env = "LAMPPOST_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Prints the settings that are in effect as TOML, and does nothing else.
    #[arg(long)]
    pub print_config: bool,

    /// Begins a new life of the data, so that phones offer everything again. Use it once after restoring a backup.
    #[arg(long)]
    pub after_restore: bool,

    /// Deletes all that is kept of this group and begins a new life of the data, so that the group's phones bring it again.
    /// Use it once, for a group whose data is damaged beyond what its phones mend by themselves.
    #[arg(long, value_name = "GROUP")]
    pub begin_again: Vec<String>,

    /// Where settings come from first.
    #[command(flatten)]
    pub layer: Layer,

    /// What to do instead of serving.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What the program does instead of serving.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Lists, allows, expires and deletes groups of the relay that is running on the data directory.
    #[command(subcommand)]
    Groups(GroupsCommand),
}

/// What to do with groups of the running relay. Ids have 64 digits, as coordinators' apps show them.
#[derive(Clone, Debug, Subcommand)]
pub enum GroupsCommand {
    /// Lists every group that is here or allowed, with its newest entry's day and its bytes.
    List,
    /// Allows a group to come although the relay takes no new groups.
    Allow {
        /// The group's id.
        group: String,
    },
    /// Sets after how many days a group is deleted. Until then it goes on as before.
    Expire {
        /// The group's id.
        group: String,
        /// Days from now.
        #[arg(long, conflicts_with = "never", required_unless_present = "never")]
        days: Option<u32>,
        /// Takes an earlier expiry back.
        #[arg(long)]
        never: bool,
    },
    /// Deletes a group at once, with all that is kept of it. It may not come back unless it is allowed anew.
    Delete {
        /// The group's id.
        group: String,
    },
}

/// One source of settings: what it does not say, the next one does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Layer {
    /// Address and port to listen on [default: 127.0.0.1:7464].
    #[arg(long, env = "LAMPPOST_LISTEN", value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,

    /// Directory of the data [default: ./lamppost-relay-data].
    #[arg(long, env = "LAMPPOST_DATA", value_name = "DIRECTORY")]
    pub data: Option<PathBuf>,

    /// Whether anybody may found a group here; groups that are here already go on either way [default: open if the relay
    /// listens on loopback alone, closed otherwise].
    #[arg(long, env = "LAMPPOST_NEW_GROUPS", value_name = "WHO")]
    pub new_groups: Option<NewGroups>,

    /// Group ids (64 digits, as a coordinator's app shows), separated by commas, that may come although new groups are
    /// closed [default: none].
    #[arg(long, env = "LAMPPOST_ALLOWED_GROUPS", value_name = "IDS", value_delimiter = ',')]
    pub allowed_groups: Option<Vec<String>>,

    /// Groups at most [default: 10000].
    #[arg(long, env = "LAMPPOST_GROUPS_MAX", value_name = "COUNT")]
    pub groups_max: Option<u64>,

    /// Bytes of entries of one group at most; a quarter is the membership log's, and one member may fill a quarter of each
    /// [default: 1073741824].
    #[arg(long, env = "LAMPPOST_GROUP_BYTES_MAX", value_name = "BYTES")]
    pub group_bytes_max: Option<u64>,

    /// Bytes of photos of one group at most; one member may bring a quarter of it [default: 4294967296].
    #[arg(long, env = "LAMPPOST_GROUP_MEDIA_BYTES_MAX", value_name = "BYTES")]
    pub group_media_bytes_max: Option<u64>,

    /// Sessions of one group at once at most [default: 2000].
    #[arg(long, env = "LAMPPOST_GROUP_SESSIONS_MAX", value_name = "COUNT")]
    pub group_sessions_max: Option<usize>,

    /// Entries one device may push per minute [default: 6000].
    #[arg(long, env = "LAMPPOST_DEVICE_ENTRIES_PER_MINUTE", value_name = "COUNT")]
    pub device_entries_per_minute: Option<u64>,

    /// Sessions of all groups at once at most, of devices that belong [default: 10000].
    #[arg(long, env = "LAMPPOST_CONNECTIONS_MAX", value_name = "COUNT")]
    pub connections_max: Option<usize>,

    /// Sessions at once at most of devices that belong to no group here; 64 for each group and each address
    /// [default: 500].
    #[arg(long, env = "LAMPPOST_STRANGERS_MAX", value_name = "COUNT")]
    pub strangers_max: Option<usize>,

    /// Addresses of proxies whose X-Forwarded-For is believed, separated by commas; this machine's own always are
    /// [default: none].
    #[arg(long, env = "LAMPPOST_PROXIES", value_name = "ADDRESSES", value_delimiter = ',')]
    pub proxies: Option<Vec<IpAddr>>,

    /// Free bytes on the disk below which only membership logs are taken, and below twice as many no new groups and no
    /// photos [default: 536870912].
    #[arg(long, env = "LAMPPOST_DISK_FREE_BYTES_MIN", value_name = "BYTES")]
    pub disk_free_bytes_min: Option<u64>,

    /// Milliseconds in which a phone must take a frame before it is dropped [default: 30000].
    #[arg(long, env = "LAMPPOST_SLOW_READER_MS", value_name = "MS")]
    pub slow_reader_ms: Option<u64>,

    /// Milliseconds that sessions get to finish at shutdown [default: 10000].
    #[arg(long, env = "LAMPPOST_SHUTDOWN_GRACE_MS", value_name = "MS")]
    pub shutdown_grace_ms: Option<u64>,

    /// Bytes of the store's page cache [default: 134217728].
    #[arg(long, env = "LAMPPOST_CACHE_BYTES", value_name = "BYTES")]
    pub cache_bytes: Option<u64>,

    /// Form of the log on standard error [default: text].
    #[arg(long, env = "LAMPPOST_LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,

    /// What to log: error, warn, info, debug, trace, or a filter for parts of the program [default: info].
    #[arg(long, env = "LAMPPOST_LOG", value_name = "LEVEL")]
    pub log: Option<String>,
}

/// Whether a relay takes groups that it has not heard of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NewGroups {
    /// From anybody.
    Open,
    /// Only those named in `allowed_groups`.
    Closed,
}

/// Form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object per line.
    Json,
}

/// The settings in effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Address and port to listen on.
    pub listen: SocketAddr,
    /// Directory of the data.
    pub data: PathBuf,
    /// What the operator allows groups and devices.
    pub rules: Rules,
    /// Sessions of one group at once at most.
    pub group_sessions_max: usize,
    /// Sessions at once at most, of devices that belong.
    pub connections_max: usize,
    /// Sessions at once at most of devices that do not.
    pub strangers_max: usize,
    /// Of them, those who ask for one group.
    pub group_strangers_max: usize,
    /// Of them, those from one address.
    pub address_strangers_max: usize,
    /// Sessions of one device that belongs.
    pub device_sessions_max: usize,
    /// Connections at once at most that have not proven who they are.
    pub unproven_max: usize,
    /// Of them, those from one address.
    pub address_unproven_max: usize,
    /// Proxies whose word of an address is believed, beside those on this machine.
    pub proxies: Vec<IpAddr>,
    /// Free bytes on the disk below which only membership logs are taken.
    pub disk_free_bytes_min: u64,
    /// Milliseconds in which a message must have come as a whole.
    pub message_ms: u64,
    /// Milliseconds that a device may stay that does not belong and waits for nothing.
    pub stranger_ms: u64,
    /// Milliseconds in which a phone must have proven who it is.
    pub handshake_ms: u64,
    /// Milliseconds in which a phone must take a frame.
    pub slow_reader_ms: u64,
    /// Milliseconds that sessions get to finish at shutdown.
    pub shutdown_grace_ms: u64,
    /// Bytes of the store's page cache.
    pub cache_bytes: u64,
    /// Form of the log.
    pub log_format: LogFormat,
    /// What to log.
    pub log: String,
    /// Whether the data was restored from a backup since the last start.
    pub after_restore: bool,
    /// Groups of which all is to be deleted before the start, so that their phones bring them again.
    pub begin_again: Vec<GroupId>,
}

/// Why the settings cannot be used. All of them are for the operator to mend.
#[derive(Debug, thiserror::Error)]
pub enum BadSettings {
    /// The file cannot be read.
    #[error("cannot read the settings in {path}: {why}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        why: std::io::Error,
    },
    /// The file is not what it should be. The text names key and line.
    #[error("the settings in {path} have a mistake: {why}")]
    Mistake {
        /// The file.
        path: PathBuf,
        /// Which.
        why: Box<toml::de::Error>,
    },
    /// Something in `allowed_groups` is no group id.
    #[error("allowed_groups names something that is no group id: {0}")]
    NotAGroup(#[from] NotAnId),
    /// What is to begin again is no group id.
    #[error("--begin-again names something that is no group id: {0}")]
    NotAGroupToBegin(NotAnId),
    /// A number that makes no sense.
    #[error("{name} must not be 0")]
    Zero {
        /// The setting.
        name: &'static str,
    },
}

impl CommandLine {
    /// Reads the file, if there is one, and joins all sources.
    ///
    /// # Errors
    /// [`BadSettings`] names the source and the mistake.
    pub fn settings(&self) -> Result<Settings, BadSettings> {
        let file = self.config.as_deref().map(read).transpose()?.unwrap_or_default();
        let settings = Settings::from_layer(self.layer.clone().or(file))?;
        let begin_again = self.begin_again.iter().map(|text| GroupId::parse(text)).collect::<Result<_, _>>();
        let begin_again = begin_again.map_err(BadSettings::NotAGroupToBegin)?;
        Ok(Settings { after_restore: self.after_restore, begin_again, ..settings })
    }
}

fn read(path: &Path) -> Result<Layer, BadSettings> {
    let text = std::fs::read_to_string(path)
        .map_err(|why| BadSettings::Unreadable { path: path.to_owned(), why })?;
    toml::from_str(&text).map_err(|why| BadSettings::Mistake { path: path.to_owned(), why: Box::new(why) })
}

impl Layer {
    /// This layer, and `next` where it says nothing.
    pub fn or(self, next: Self) -> Self {
        Self {
            listen: self.listen.or(next.listen),
            data: self.data.or(next.data),
            new_groups: self.new_groups.or(next.new_groups),
            allowed_groups: self.allowed_groups.or(next.allowed_groups),
            groups_max: self.groups_max.or(next.groups_max),
            group_bytes_max: self.group_bytes_max.or(next.group_bytes_max),
            group_media_bytes_max: self.group_media_bytes_max.or(next.group_media_bytes_max),
            group_sessions_max: self.group_sessions_max.or(next.group_sessions_max),
            device_entries_per_minute: self.device_entries_per_minute.or(next.device_entries_per_minute),
            connections_max: self.connections_max.or(next.connections_max),
            strangers_max: self.strangers_max.or(next.strangers_max),
            proxies: self.proxies.or(next.proxies),
            disk_free_bytes_min: self.disk_free_bytes_min.or(next.disk_free_bytes_min),
            slow_reader_ms: self.slow_reader_ms.or(next.slow_reader_ms),
            shutdown_grace_ms: self.shutdown_grace_ms.or(next.shutdown_grace_ms),
            cache_bytes: self.cache_bytes.or(next.cache_bytes),
            log_format: self.log_format.or(next.log_format),
            log: self.log.or(next.log),
        }
    }

    /// Every default, spelled out.
    pub fn defaults() -> Self {
        Self {
            listen: Some(SocketAddr::from(([127, 0, 0, 1], 7464))),
            data: Some(PathBuf::from("./lamppost-relay-data")),
            // It hangs on where the relay listens.
            new_groups: None,
            allowed_groups: Some(Vec::new()),
            groups_max: Some(10_000),
            group_bytes_max: Some(1_073_741_824),
            group_media_bytes_max: Some(4_294_967_296),
            group_sessions_max: Some(2_000),
            device_entries_per_minute: Some(6_000),
            connections_max: Some(10_000),
            strangers_max: Some(500),
            proxies: Some(Vec::new()),
            disk_free_bytes_min: Some(536_870_912),
            slow_reader_ms: Some(30_000),
            shutdown_grace_ms: Some(10_000),
            cache_bytes: Some(134_217_728),
            log_format: Some(LogFormat::Text),
            log: Some("info".to_owned()),
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        #[expect(clippy::expect_used, reason = "see its text")]
        Self::from_layer(Layer::default()).expect("this works because the defaults are tested to be sound")
    }
}

impl Settings {
    /// The settings of a layer, and defaults where it says nothing.
    ///
    /// # Errors
    /// [`BadSettings`] if a value makes no sense.
    pub fn from_layer(layer: Layer) -> Result<Self, BadSettings> {
        let layer = layer.or(Layer::defaults());
        let allowed_groups = layer.allowed_groups.unwrap_or_default();
        let allowed_groups =
            allowed_groups.iter().map(|text| GroupId::parse(text)).collect::<Result<_, _>>()?;
        let positive = |name, value: Option<u64>| value.filter(|v| *v > 0).ok_or(BadSettings::Zero { name });
        let count = |name, value: Option<usize>| value.filter(|v| *v > 0).ok_or(BadSettings::Zero { name });
        let listen = layer.listen.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0)));
        Ok(Self {
            listen,
            data: layer.data.unwrap_or_default(),
            rules: Rules {
                open_to_new_groups: match layer.new_groups {
                    Some(new_groups) => new_groups == NewGroups::Open,
                    None => listen.ip().is_loopback(),
                },
                allowed_groups,
                groups_max: positive("groups_max", layer.groups_max)?,
                group_bytes_max: positive("group_bytes_max", layer.group_bytes_max)?,
                group_media_bytes_max: positive("group_media_bytes_max", layer.group_media_bytes_max)?,
                device_entries_per_minute: positive(
                    "device_entries_per_minute",
                    layer.device_entries_per_minute,
                )?,
            },
            group_sessions_max: count("group_sessions_max", layer.group_sessions_max)?,
            connections_max: count("connections_max", layer.connections_max)?,
            strangers_max: count("strangers_max", layer.strangers_max)?,
            group_strangers_max: 64,
            address_strangers_max: 64,
            device_sessions_max: 8,
            unproven_max: 512,
            address_unproven_max: 64,
            proxies: layer.proxies.unwrap_or_default(),
            disk_free_bytes_min: layer.disk_free_bytes_min.unwrap_or_default(),
            message_ms: 60_000,
            stranger_ms: 60_000,
            handshake_ms: 10_000,
            slow_reader_ms: positive("slow_reader_ms", layer.slow_reader_ms)?,
            shutdown_grace_ms: layer.shutdown_grace_ms.unwrap_or_default(),
            cache_bytes: positive("cache_bytes", layer.cache_bytes)?,
            log_format: layer.log_format.unwrap_or(LogFormat::Text),
            log: layer.log.unwrap_or_default(),
            after_restore: false,
            begin_again: Vec::new(),
        })
    }

    fn to_layer(&self) -> Layer {
        let new_groups = if self.rules.open_to_new_groups { NewGroups::Open } else { NewGroups::Closed };
        Layer {
            listen: Some(self.listen),
            data: Some(self.data.clone()),
            new_groups: Some(new_groups),
            allowed_groups: Some(self.rules.allowed_groups.iter().map(GroupId::to_string).collect()),
            groups_max: Some(self.rules.groups_max),
            group_bytes_max: Some(self.rules.group_bytes_max),
            group_media_bytes_max: Some(self.rules.group_media_bytes_max),
            group_sessions_max: Some(self.group_sessions_max),
            device_entries_per_minute: Some(self.rules.device_entries_per_minute),
            connections_max: Some(self.connections_max),
            strangers_max: Some(self.strangers_max),
            proxies: Some(self.proxies.clone()),
            disk_free_bytes_min: Some(self.disk_free_bytes_min),
            slow_reader_ms: Some(self.slow_reader_ms),
            shutdown_grace_ms: Some(self.shutdown_grace_ms),
            cache_bytes: Some(self.cache_bytes),
            log_format: Some(self.log_format),
            log: Some(self.log.clone()),
        }
    }
}

/// Shows the settings as the TOML that a settings file takes.
impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&toml::to_string(&self.to_layer()).map_err(|_| fmt::Error)?)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn settings(arguments: &[&str]) -> Result<Settings, BadSettings> {
        CommandLine::parse_from([&["lamppost-relay"], arguments].concat()).settings()
    }

    #[test]
    fn help_shows_every_default() {
        // Unwrapped: whether clap wraps depends on what else is built with it.
        let help = CommandLine::command().term_width(0).render_long_help().to_string();
        let toml = toml::to_string(&Layer::defaults()).unwrap();
        for line in toml.lines() {
            let (name, value) = line.split_once(" = ").unwrap();
            let value = if value == "[]" { "none" } else { value.trim_matches('"') };
            let flag = help.split(&format!("--{} ", name.replace('_', "-"))).nth(1).expect(name);
            let flag = flag.split("\n      --").next().unwrap();
            assert!(flag.contains(&format!("[default: {value}]")), "{name}: {flag}");
        }
    }

    #[test]
    fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "groups_max = 7\nconnections_max = 8\nnew_groups = \"closed\"\n")
            .unwrap();
        let path = file.path().to_str().unwrap();
        let settings = settings(&["--config", path, "--groups-max", "9"]).unwrap();
        assert_eq!(settings.rules.groups_max, 9);
        assert_eq!(settings.connections_max, 8);
        assert!(!settings.rules.open_to_new_groups);
        assert_eq!(settings.slow_reader_ms, Settings::default().slow_reader_ms);
    }

    #[test]
    fn new_groups_are_closed_unless_it_listens_on_loopback_alone() {
        let is_open = |arguments: &[&str]| settings(arguments).unwrap().rules.open_to_new_groups;
        assert!(is_open(&[]) && is_open(&["--listen", "[::1]:7464"]));
        assert!(!is_open(&["--listen", "0.0.0.0:7464"]) && !is_open(&["--listen", "192.0.2.1:7464"]));
        assert!(is_open(&["--listen", "0.0.0.0:7464", "--new-groups", "open"]));
        assert!(!is_open(&["--new-groups", "closed"]));
    }

    #[test]
    fn a_key_that_does_not_exist_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "group_max = 7\n").unwrap();
        let why = settings(&["--config", file.path().to_str().unwrap()]).unwrap_err();
        assert!(why.to_string().contains("group_max"), "{why}");
    }

    #[test]
    fn values_that_make_no_sense_are_named() {
        assert!(settings(&["--connections-max", "0"]).unwrap_err().to_string().contains("connections_max"));
        assert!(settings(&["--allowed-groups", "abc"]).unwrap_err().to_string().contains("abc"));
        assert!(matches!(settings(&["--config", "/nowhere"]), Err(BadSettings::Unreadable { .. })));
    }

    #[test]
    fn what_is_printed_can_be_read_back() {
        let group = GroupId([7; 32]).to_string();
        let before = settings(&["--new-groups", "closed", "--allowed-groups", &group]).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), before.to_string()).unwrap();
        assert_eq!(settings(&["--config", file.path().to_str().unwrap()]).unwrap(), before);
    }
}
