/** Resource use of a control group as containerd's messages. */
import { Metrics as MetricsV1 } from '../../../api/gen/cgroups/v1.js';
import { Metrics as MetricsV2 } from '../../../api/gen/cgroups/v2.js';
import type { ControlGroup } from '../../../lib/cgroups/group.js';
import { readMetricsV1 } from '../../../lib/cgroups/metrics-v1.js';
import { readMetricsV2 } from '../../../lib/cgroups/metrics-v2.js';
import { type AnyMessage, packAny } from '../../../lib/rpc/any.js';

export const readStats = (group: ControlGroup): AnyMessage =>
  group.version === 1
    ? packAny(MetricsV1, MetricsV1.fromPartial(readMetricsV1(group)))
    : packAny(MetricsV2, MetricsV2.fromPartial(readMetricsV2(group)));
