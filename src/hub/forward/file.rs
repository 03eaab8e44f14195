//! A file: alerts as JSON, one a line. Ours; Falcosidekick has no such output.

use super::{Batch, Context, Failure, Forward, Kind, Work, all};
use crate::hub::alert::Alert;
use crate::hub::config::keys::Key;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;

pub const KIND: Kind = Kind {
    section: "file",
    label: "File",
    destination: "file",
    category: "local",
    meaning: "Each alert as a line of JSON, flushed to the disk.",
    required: &["path"],
    keys: &[&[Key::text("path", "", "file that lines are appended to; made when it is absent")]],
    shared: &[],
    work: Work::Forward(make),
};

struct File {
    path: PathBuf,
}

fn make(context: &Context) -> Result<Box<dyn Forward>, String> {
    Ok(Box::new(File { path: context.settings.text("path").into() }))
}

impl File {
    async fn append(&self, alerts: &[Arc<Alert>]) -> std::io::Result<()> {
        // Opened each time: whoever rotates the file need not tell.
        let mut file = tokio::fs::OpenOptions::new().create(true).append(true).open(&self.path).await?;
        let lines: Vec<u8> = alerts.iter().flat_map(|alert| alert.body()).collect();
        file.write_all(&lines).await?;
        file.flush().await?;
        if file.metadata().await?.is_file() { file.sync_data().await } else { Ok(()) }
    }
}

#[async_trait::async_trait]
impl Forward for File {
    fn batch(&self) -> Batch {
        Batch { alerts: 128, bytes: 4 << 20, linger: Duration::ZERO }
    }

    async fn deliver(&self, alerts: &[Arc<Alert>]) -> Vec<Result<(), Failure>> {
        let written = self.append(alerts).await;
        all(alerts, written.map_err(|error| Failure::down(format!("{}: {error}", self.path.display()))))
    }
}
