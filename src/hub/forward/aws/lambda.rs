//! AWS Lambda: a function is called with each alert.

use super::{Aws, SHARED, judge, uri_encoded};
use crate::hub::alert::Alert;
use crate::hub::config::keys::{HTTP, Key, Type};
use crate::hub::forward::http::{Answer, Payload, Request};
use crate::hub::forward::{Context, Failure, Kind, Work, all};
use crate::hub::json::head;
use reqwest::Client;
use std::sync::Arc;

pub const KIND: Kind = Kind {
    section: "aws.lambda",
    label: "AWSLambda",
    destination: "awslambda",
    category: "FaaS",
    meaning: "A call of a function with each alert as JSON; one that fails is repeated.",
    required: &["functionname"],
    keys: &[
        &[
            Key::text("functionname", "", "name or ARN of the function"),
            Key::new(
                "invocationtype",
                Type::Choice(&["RequestResponse", "Event", "DryRun"]),
                "RequestResponse",
                "wait for the function, put the call in its queue, or only check",
            ),
            Key::new("logtype", Type::Choice(&["Tail", "None"]), "Tail", "whether the end of its log is asked for"),
        ],
        HTTP,
    ],
    shared: SHARED,
    work: Work::Http(make),
};

struct Lambda {
    aws: Aws,
    url: String,
    invocation: String,
    log: String,
}

fn make(context: &Context) -> Result<Box<dyn Payload>, String> {
    let settings = context.settings;
    let aws = Aws::new(context)?;
    let function = uri_encoded(settings.text("functionname"));
    Ok(Box::new(Lambda {
        url: format!("{}/2015-03-31/functions/{function}/invocations", aws.url("lambda")),
        aws,
        invocation: settings.text("invocationtype").to_owned(),
        log: settings.text("logtype").to_owned(),
    }))
}

#[async_trait::async_trait]
impl Payload for Lambda {
    fn requests(&self, alerts: &[Arc<Alert>]) -> Result<Vec<Request>, Failure> {
        let request = |alert: &Arc<Alert>| {
            let request = Request::post(&*self.url, alert.body())
                .header("Content-Type", "application/json")
                .header("X-Amz-Invocation-Type", &*self.invocation)
                .header("X-Amz-Log-Type", &*self.log);
            self.aws.sign("lambda", request)
        };
        alerts.iter().map(request).collect()
    }

    /// The call may succeed and the function fail.
    fn judge(&self, answer: &Answer, alerts: &[Arc<Alert>]) -> Vec<Result<(), Failure>> {
        if answer.status.is_success()
            && let Some(kind) = answer.headers.get("X-Amz-Function-Error").and_then(|kind| kind.to_str().ok())
        {
            let what = format!("the function failed ({kind}): {}", head(&answer.body, 300).escape_debug());
            return all(alerts, Err(Failure::Refused(what)));
        }
        judge(answer, alerts)
    }

    async fn prepare(&self, client: &Client) -> Result<Vec<(String, String)>, Failure> {
        self.aws.prepare(client).await
    }
}
