// A Lambda function: an object arrives in S3, its notification comes through SQS, and the DAGs that wait for that dataset
// (2.9 and newer) or asset (3.x) start.
//
// AIRFLOW names the environment, such as mwaa://prod?region=eu-west-1; the function's role needs airflow:InvokeRestApi. The
// queue's event source has ReportBatchItemFailures on.
import { openAirflow, type Airflow, type OpenAirflowOptions } from 'airflow-lifeboat';

/** Of the events that AWS sends as far as they are looked at. */
export interface SqsEvent {
  readonly Records: readonly { readonly messageId: string; readonly body: string }[];
}

interface S3Notification {
  readonly Records?: readonly {
    readonly eventName: string;
    readonly eventTime: string;
    readonly s3: {
      readonly bucket: { readonly name: string };
      readonly object: { readonly key: string; readonly size?: number; readonly versionId?: string };
    };
  }[];
}

/** SQS brings these messages again, and only these. */
export interface BatchResponse {
  readonly batchItemFailures: readonly { readonly itemIdentifier: string }[];
}

export function createHandler(
  environment: string,
  options: OpenAirflowOptions = {},
): (event: SqsEvent) => Promise<BatchResponse> {
  return async (event) => {
    const airflow = await openAirflow(environment, options);
    try {
      const failures: { itemIdentifier: string }[] = [];
      for (const { messageId, body } of event.Records) {
        try {
          await createEvents(airflow, JSON.parse(body) as S3Notification);
        } catch (error) {
          console.error(messageId, error);
          failures.push({ itemIdentifier: messageId });
        }
      }
      return { batchItemFailures: failures };
    } finally {
      airflow.close();
    }
  };
}

async function createEvents(airflow: Airflow, { Records = [] }: S3Notification): Promise<void> {
  for (const { eventName, eventTime, s3 } of Records) {
    // A test message of S3 has no records, and a deletion is no new data.
    if (!eventName.startsWith('ObjectCreated:')) continue;
    // S3 writes keys as a form does: + is a space.
    const key = decodeURIComponent(s3.object.key.replaceAll('+', ' '));
    await airflow.datasets.createEvent({
      uri: `s3://${s3.bucket.name}/${key}`,
      extra: { eventTime, size: s3.object.size ?? null, versionId: s3.object.versionId ?? null },
    });
  }
}

export const handler: (event: SqsEvent) => Promise<BatchResponse> = createHandler(process.env.AIRFLOW ?? '', {
  env: process.env,
});
