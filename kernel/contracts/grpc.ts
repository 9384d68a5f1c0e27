/** Services that the gRPC server collects and serves; each comes from a plugin of its own. */
import type { ServiceImplementation } from '../../lib/rpc/definition.js';
import { many } from '../token.js';

/** Made with `implement` of `lib/rpc/definition.ts` from a generated service definition. */
export type GrpcService = ServiceImplementation;

/** One service of a plugin, or several. */
export const GrpcServices = many<GrpcService | readonly GrpcService[]>('grpc-service@1');
