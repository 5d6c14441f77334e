import { credential, sqs } from './state-machine.ts';
import type { Emulator } from './state-machine.ts';

const REPORTS = 'reports';

/** What the DAGs tell beside Step Functions: SNS and CloudWatch of the emulator. */
export interface Reports {
  /** Variables for a process that shall use them. */
  readonly env: Readonly<Record<string, string>>;
  /** Subjects and messages that were published since the last call. */
  published(): Promise<readonly { readonly Subject: string; readonly Message: string }[]>;
  /** Sum and number of a metric's values. */
  metric(name: string): Promise<{ readonly sum: number; readonly count: number }>;
}

export async function watchReports({ url }: Emulator): Promise<Reports> {
  const { QueueUrl } = await sqs(url, 'CreateQueue', { QueueName: REPORTS });
  const created = await form(url, 'sns', { Action: 'CreateTopic', Name: REPORTS });
  const topic = /<TopicArn>(.*?)<\/TopicArn>/.exec(created)?.[1] ?? '';
  const queue = topic.replace(':sns:', ':sqs:');
  await form(url, 'sns', { Action: 'Subscribe', TopicArn: topic, Protocol: 'sqs', Endpoint: queue });
  return {
    env: {
      AWS_ENDPOINT_URL_SNS: url,
      AWS_ENDPOINT_URL_CLOUDWATCH: url,
      AIRFLOW_VAR_DR_SNS_TOPIC_ARN: topic,
      AIRFLOW_VAR_LIFEBOAT_METRICS_NAMESPACE: 'DR',
    },
    published: async () => {
      const { Messages = [] } = (await sqs(url, 'ReceiveMessage', { QueueUrl, MaxNumberOfMessages: 10 })) as {
        readonly Messages?: readonly { readonly Body: string; readonly ReceiptHandle: string }[];
      };
      for (const { ReceiptHandle } of Messages) await sqs(url, 'DeleteMessage', { QueueUrl, ReceiptHandle });
      return Messages.map(({ Body }) => JSON.parse(Body) as { Subject: string; Message: string });
    },
    metric: async (name) => {
      const now = Date.now();
      const answer = await form(url, 'monitoring', {
        Action: 'GetMetricStatistics',
        Namespace: 'DR',
        MetricName: name,
        'Dimensions.member.1.Name': 'Environment',
        'Dimensions.member.1.Value': 'airflow',
        'Statistics.member.1': 'Sum',
        'Statistics.member.2': 'SampleCount',
        Period: '86400',
        StartTime: new Date(now - 3_600_000).toISOString(),
        EndTime: new Date(now + 3_600_000).toISOString(),
      });
      const value = (of: string): number => Number(new RegExp(`<${of}>(.*?)</${of}>`).exec(answer)?.[1] ?? 0);
      return { sum: value('Sum'), count: value('SampleCount') };
    },
  };
}

async function form(url: string, service: string, fields: Readonly<Record<string, string>>): Promise<string> {
  const version = service === 'sns' ? '2010-03-31' : '2010-08-01';
  const answer = await fetch(url, {
    method: 'POST',
    headers: { authorization: credential(service) },
    body: new URLSearchParams({ Version: version, ...fields }),
  });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${fields.Action ?? ''}: ${answer.status} ${text}`);
  return text;
}
